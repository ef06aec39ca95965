package crowd

// Work says whether the connection carries a request, as its server does.
func (c *Conn) Work(now bool) { c.work(now) }
