package apply

import "go.uber.org/zap"

// maxDiffering bounds the tables of which it is remembered what was told (I7).
const maxDiffering = 10_000

// differs says that a table of the target is defined otherwise than on the primary, once.
// It is told of before the transaction commits here: a worker that dies behind that does
// not see the table's definition again.
func (st *stream) differs(offset int64, table, where string) {
	st.mu.Lock()
	told := st.differing[table] == where
	if len(st.differing) >= maxDiffering {
		clear(st.differing)
	}
	st.differing[table] = where
	st.mu.Unlock()
	if told {
		return
	}
	st.metrics.differs.WithLabelValues(st.source).Inc()
	st.log.Warn("a table is defined otherwise than on the primary, so that what is written there as text may have other effects here: run the same DDL on both, unless it is meant",
		zap.Int64("offset", offset), zap.String("table", table), zap.String("where", where))
}
