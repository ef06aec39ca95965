package journal

import (
	"bytes"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// SinceBoot names this boot of this machine, and tells how long it has been up, sleep
// included. No change of the wall clock moves that. Empty: it cannot be found out.
func SinceBoot() (boot string, up time.Duration) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return "", 0
	}
	return bootID(), time.Duration(now.Nano())
}

// bootID is of the kernel. What cannot be found out is left empty.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(id))
}
