package xds

import (
	"log/slog"
	"time"

	"pannier/proxy/mesh"
)

// Disk and File are what the last known good is kept on.
type (
	Disk = disk
	File = file
)

// NewOnDisk is New with another disk.
func NewOnDisk(o Options, node mesh.Node, log *slog.Logger, d Disk) *Client {
	return newClient(o, node, log, d)
}

// Save writes the file now.
func (c *Client) Save() { c.save(time.Now()) }

// Replace replaces the content of a file.
func Replace(d Disk, path string, content []byte) error { return replace(d, path, content) }

// Pause is how long to wait after the n-th stream in a row that ended.
func Pause(n int, random float64) time.Duration { return pause(n, random) }

// Decode reports whether a content of the file is taken.
func Decode(c *Client, content []byte) error { return c.decode(content, time.Now()) }
