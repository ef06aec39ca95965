package controlplane_test

import (
	"io"
	"net"
	"testing"
	"time"

	"pannier/proxy/controlplane"
	"pannier/proxy/identity/identitytest"
)

// Strangers neither take all the files there are nor keep anybody out: at each
// listener who says nothing makes way for who comes.
func TestListenersAreBounded(t *testing.T) {
	t.Parallel()
	o := controlplane.DefaultOptions()
	o.Listen, o.Admin, o.Health = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	o.Sources = []controlplane.Source{newScripted("s")}
	o.Trust = trusting(t, withFiles(t, identitytest.NewCA(t, "acme"), "control.example"))
	c, err := controlplane.New(o)
	if err != nil {
		t.Fatal(err)
	}
	all, err := c.Listen(100)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		defer l.Close()
		var first net.Conn
		for i := range 17 { // of a hundred files 16 are for each
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if i == 0 {
				first = c
			}
			if _, err := l.Accept(); err != nil {
				t.Fatal(err)
			}
		}
		first.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := first.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: the first of 17 does not make way: %v", l.Addr(), err)
		}
	}
}
