package api

// Explanation is what the registry says of a code, for those outside: `pannier
// explain`, and tests that compare answers with it.
type Explanation struct {
	Code       string
	Status     int
	Category   string // of AXP's closed set
	Retryable  bool
	RetryAfter int // seconds; 0: no header
	Title      string
	Means      string // what has happened, and whether anything was done
	Remedy     string // what to do about it
}

// Codes lists the registry.
func Codes() []Explanation {
	all := make([]Explanation, len(registry))
	for i, e := range registry {
		all[i] = e.explanation()
	}
	return all
}

// Explain looks a code up.
func Explain(c string) (Explanation, bool) {
	e, known := registryIndex[code(c)]
	return e.explanation(), known
}

func (e entry) explanation() Explanation {
	return Explanation{string(e.code), e.status, e.category, e.retryable, e.retryAfter, e.title, e.means, e.remedy}
}
