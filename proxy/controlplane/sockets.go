package controlplane

import (
	"fmt"
	"net"

	"pannier/proxy/crowd"
)

// sockets are where a control plane is reached.
type sockets struct {
	xds, admin net.Listener
	health     net.Listener // nil where none is asked for
}

// filesKept, and an eighth of all where that is more, are never spent on
// connections: files of identities and of agents are read again and again, and
// sources have connections of their own.
const filesKept = 96

// listen opens the listeners. None takes the files that another needs.
func (c *ControlPlane) listen(files uint64) (l sockets, err error) {
	spent := files - min(files, max(files/8, filesKept))
	hold := crowd.ListenForProof
	if c.opts.Trust == nil {
		hold = crowd.Listen
	}
	few := spent / 16
	for _, one := range []struct {
		to      *net.Listener
		key     string // the option that says where
		name    string
		address string
		most    uint64
	}{{&l.xds, "listen", "xds", c.opts.Listen, spent - 2*few}, {&l.admin, "admin", "admin", c.opts.Admin, few}, {&l.health, "health", "health", c.opts.Health, few}} {
		if one.address == "" {
			continue
		}
		opened, err := net.Listen("tcp", one.address)
		if err != nil {
			l.close()
			return sockets{}, fmt.Errorf("%s: %w", one.key, err)
		}
		*one.to = hold(opened, one.name, crowd.Places(one.most), c.log)
		hold = crowd.ListenForProof // who asks for a page proves and is answered at once
	}
	return l, nil
}

// close closes what is open; usually its servers have done so.
func (l sockets) close() {
	for _, one := range []net.Listener{l.xds, l.admin, l.health} {
		if one != nil {
			one.Close()
		}
	}
}

// info is the ready line.
func (l sockets) info(version string) Info {
	i := Info{Ready: true, XDS: l.xds.Addr().String(), Admin: l.admin.Addr().String(), Version: version}
	if l.health != nil {
		i.Health = l.health.Addr().String()
	}
	return i
}
