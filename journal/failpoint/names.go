// Package failpoint lets a test end the process at a named line. Built
// without the tag failpoint, Hit does nothing and costs nothing; built with
// it, PANNIER_FAILPOINT=name[:n] makes the n-th Hit of that name SIGKILL the
// process, and PANNIER_FAILPOINT_LOG=FILE lists each name first reached.
package failpoint

// Names lists every line of the crash walk at which a test can end a process.
var Names = []string{
	HomeBeforeAcceptCommit,
	HomeAfterAcceptCommit,
	HomeOfferSent,
	HolderBeforeHeldCommit,
	HolderAfterHeldCommit,
	HolderAfterLeaseCommit,
	HolderBeforeSettleCommit,
	HolderAfterSettleCommit,
	HolderBeforeReport,
	HomeAfterEventsCommit,
	HomeAfterEnd,
}

const (
	HomeBeforeAcceptCommit   = "home-before-accept-commit"
	HomeAfterAcceptCommit    = "home-after-accept-commit"
	HomeOfferSent            = "home-offer-sent"
	HolderBeforeHeldCommit   = "holder-before-held-commit"
	HolderAfterHeldCommit    = "holder-after-held-commit"
	HolderAfterLeaseCommit   = "holder-after-lease-commit"
	HolderBeforeSettleCommit = "holder-before-settle-commit"
	HolderAfterSettleCommit  = "holder-after-settle-commit"
	HolderBeforeReport       = "holder-before-report"
	HomeAfterEventsCommit    = "home-after-events-commit"
	HomeAfterEnd             = "home-after-end"
)
