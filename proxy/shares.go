package proxy

import "pannier/proxy/crowd"

// guard is how rooms hear of all files of this process.
func (r *run) guard() crowd.Guard {
	files := r.journal.OpenFiles()
	return crowd.Guard{Fits: files.Fits, Out: files.Out}
}

// filesFor are parts of the files a process may open, for its listeners, so that the app is let in
// whatever strangers do at the peer listener, and for what it dials: a control plane can
// name more sidecars than there are files, and apps more webhooks.
type filesFor struct {
	api, peer, operators, dials, calls int // operators: for each of three listeners
}

func shares(files uint64) filesFor {
	return filesFor{
		api: crowd.Part(files, 4), peer: crowd.Part(files, 4), operators: crowd.Part(files, 1),
		dials: crowd.Part(files, 3), calls: crowd.Part(files, 2),
	}
}
