package state

// Rows and HandoverRows give the tests the tables themselves.
func Rows() []Row                 { return lifecycle }
func HandoverRows() []HandoverRow { return handover }
