package classify

import "github.com/opmux/opmux/capture/catalog"

// Rows of temporary tables are on no backup, and by policy those of unlogged ones are not:
// they are as a crash of the primary would leave them.

// UnloggedSkip has what is written to unlogged tables published nowhere; otherwise it is refused.
const UnloggedSkip = "skip"

const unloggedHint = "ALTER TABLE … SET LOGGED on every server, or keep such data in temporary tables; or set capture.unlogged to skip, by which it is on no backup."

// SkipsUnlogged tells whether writes of unlogged tables run unpublished.
func (c *Classifier) SkipsUnlogged() bool { return c.unlogged == UnloggedSkip }

// unfollowed says that a table's rows are on no backup. Partitions are parts of tables whose rows may be.
func (j *job) unfollowed(t *catalog.Table) bool {
	return t.Temp || t.Unlogged && j.c.SkipsUnlogged() && t.Kind == catalog.Ordinary && !t.Partition
}

// unpublished plans a write of such a table: nothing is published but draws from
// sequences that are not temporary. Where it deletes rows, or changes the columns, foreign
// keys change others of the kind, and no trigger there may write elsewhere.
func (j *job) unpublished(t *catalog.Table, changed []string, deleted bool) error {
	if _, err := j.cascades(t, changed, deleted); err != nil {
		return err
	}
	if !t.Temp {
		return j.notFollowed("unlogged table")
	}
	return j.temporary()
}

// temporary plans a write of a temporary table.
func (j *job) temporary() error { return j.notFollowed("temporary table") }

func (j *job) notFollowed(reason string) error {
	j.plan.Reason, j.plan.ClientColumns = reason, 0
	j.plan.Tables = nil
	return j.finishRead()
}

// changes are the columns that an ON CONFLICT DO UPDATE changes, none without one.
func (i *inserting) changes() []string {
	var list []string
	for _, n := range i.st.OnConflictClause.GetTargetList() {
		list = append(list, n.GetResTarget().GetName())
	}
	return recomputed(i.t, list)
}
