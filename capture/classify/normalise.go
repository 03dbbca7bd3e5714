package classify

import (
	"sync"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Normalise replaces constants by $n for people and metrics; text that cannot be
// parsed becomes a word about that.
func Normalise(sql string) string {
	s, err := pg.Normalize(sql)
	if err != nil {
		return Unparsable
	}
	return s
}

// Bounds of a Normaliser (I7): texts that it knows, and the bytes of one.
const (
	maxNormalised     = 512
	maxNormalisedText = 4 << 10
)

// Normaliser is Normalise for programs that see the same texts again and again,
// as those of prepared statements. Its zero value is ready.
type Normaliser struct {
	// Form takes the place of Normalise where it is set.
	Form func(sql string) string

	mu    sync.Mutex
	known map[string]string
}

// Normalise is the function of that name.
func (n *Normaliser) Normalise(sql string) string {
	form := n.Form
	if form == nil {
		form = Normalise
	}
	if len(sql) > maxNormalisedText {
		return form(sql)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s, ok := n.known[sql]; ok {
		return s
	}
	if n.known == nil || len(n.known) >= maxNormalised {
		// Texts with constants in them come once each: to know which is used least
		// would cost more than to begin anew.
		n.known = make(map[string]string, maxNormalised)
	}
	s := form(sql)
	n.known[sql] = s
	return s
}
