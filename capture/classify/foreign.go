package classify

import pg "github.com/pganalyze/pg_query_go/v6"

// foreign refuses DDL of foreign tables, which are on no backup or made there by hand.
func (j *job) foreign(construct string, tables ...*pg.RangeVar) error {
	for _, rv := range tables {
		if _, err := j.touched(rv); err != nil {
			return err
		}
	}
	return j.refuse(construct, -1, "foreign data is on another server", "Run it on each server that needs it, directly.").given()
}

func (j *job) createForeign(st *pg.CreateStmt) error {
	refusal := j.foreign("CREATE FOREIGN TABLE", st.Relation)
	var r *Refusal
	if asRefusal(refusal, &r) {
		for _, t := range created(st)[1:] {
			if err := j.nameTarget(t, r); err != nil {
				return err
			}
		}
	}
	return refusal
}
