package proxy

import "pannier/proxy/crowd"

// shares divide the files a process may open between its listeners, so that the
// app is let in whatever strangers do at the peer listener, and what it dials: a
// control plane can name more sidecars than there are files.
func shares(files uint64) (api, peer, admin, dials int) {
	return crowd.Part(files, 4), crowd.Part(files, 3), crowd.Part(files, 16), crowd.Part(files, 3)
}
