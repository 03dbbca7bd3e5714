package classify

import (
	"cmp"
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// plainAlters are the ALTER TABLE commands that compute no values of rows.
var plainAlters = []pg.AlterTableType{
	pg.AlterTableType_AT_DropNotNull, pg.AlterTableType_AT_SetNotNull, pg.AlterTableType_AT_SetExpression,
	pg.AlterTableType_AT_DropExpression, pg.AlterTableType_AT_SetStatistics, pg.AlterTableType_AT_SetOptions, pg.AlterTableType_AT_ResetOptions,
	pg.AlterTableType_AT_SetStorage, pg.AlterTableType_AT_SetCompression, pg.AlterTableType_AT_DropColumn,
	pg.AlterTableType_AT_AddIndexConstraint, pg.AlterTableType_AT_AlterConstraint,
	pg.AlterTableType_AT_DropConstraint, pg.AlterTableType_AT_ChangeOwner, pg.AlterTableType_AT_ClusterOn, pg.AlterTableType_AT_DropCluster,
	pg.AlterTableType_AT_SetUnLogged, pg.AlterTableType_AT_DropOids, pg.AlterTableType_AT_SetAccessMethod, pg.AlterTableType_AT_SetTableSpace,
	pg.AlterTableType_AT_SetRelOptions, pg.AlterTableType_AT_ResetRelOptions, pg.AlterTableType_AT_ReplaceRelOptions,
	pg.AlterTableType_AT_EnableTrig, pg.AlterTableType_AT_EnableAlwaysTrig, pg.AlterTableType_AT_EnableReplicaTrig, pg.AlterTableType_AT_DisableTrig,
	pg.AlterTableType_AT_EnableTrigAll, pg.AlterTableType_AT_DisableTrigAll, pg.AlterTableType_AT_EnableTrigUser, pg.AlterTableType_AT_DisableTrigUser,
	pg.AlterTableType_AT_EnableRule, pg.AlterTableType_AT_EnableAlwaysRule, pg.AlterTableType_AT_EnableReplicaRule, pg.AlterTableType_AT_DisableRule,
	pg.AlterTableType_AT_AddInherit, pg.AlterTableType_AT_DropInherit, pg.AlterTableType_AT_AddOf, pg.AlterTableType_AT_DropOf,
	pg.AlterTableType_AT_ReplicaIdentity, pg.AlterTableType_AT_EnableRowSecurity, pg.AlterTableType_AT_DisableRowSecurity,
	pg.AlterTableType_AT_ForceRowSecurity, pg.AlterTableType_AT_NoForceRowSecurity, pg.AlterTableType_AT_AttachPartition,
	pg.AlterTableType_AT_DetachPartition, pg.AlterTableType_AT_AddIdentity,
	pg.AlterTableType_AT_SetIdentity, pg.AlterTableType_AT_DropIdentity,
}

func (j *job) alterTable(n *pg.Node, st *pg.AlterTableStmt) error {
	if st.Objtype == pg.ObjectType_OBJECT_FOREIGN_TABLE {
		return j.foreign("ALTER FOREIGN TABLE", st.Relation)
	}
	if err := j.define(st.Relation); err != nil || j.plan.Kind != DDL {
		return err
	}
	var t *catalog.Table
	if len(j.plan.TableRefs) > 0 {
		t = j.plan.TableRefs[0]
	}
	timed := false
	for _, c := range st.Cmds {
		cmd := c.GetAlterTableCmd()
		pinned, err := j.alterCommand(t, cmd)
		if err == nil {
			err = j.recomputes(t, cmd)
		}
		if err != nil {
			j.plan.Fills = nil // of a command before it
			return err
		}
		timed = timed || pinned
		if d := cmd.Def.GetPartitionCmd(); d != nil && d.Concurrent {
			j.plan.Kind, j.plan.Reason = Standalone, "DDL outside of transactions"
		}
	}
	if err := j.apart(t, st.Cmds); err != nil {
		return err
	}
	j.plan.Sequences = sequences(j.eff.draws)
	if timed {
		return j.pinAddedColumns(n, t)
	}
	return nil
}

// alterCommand judges one command; pinned says that it gives rows the time of the
// transaction.
func (j *job) alterCommand(t *catalog.Table, cmd *pg.AlterTableCmd) (pinned bool, err error) {
	switch {
	case cmd.Subtype == pg.AlterTableType_AT_AddColumn:
		if j.isThere(t, cmd) {
			return false, nil
		}
		if err := j.checksColumn(cmd.Def.GetColumnDef()); err != nil {
			return false, err
		}
		pinned, err = j.addColumn(t, cmd.Def.GetColumnDef())
		if pinned && cmd.MissingOk && j.in.Behind != nil {
			return false, j.refuse("ADD COLUMN IF NOT EXISTS … DEFAULT of the time", -1, "whether it was there before is not known", aloneHint)
		}
		return pinned, err
	case cmd.Subtype == pg.AlterTableType_AT_AddConstraint:
		return false, j.checksRows(cmd.Def.GetConstraint())
	case cmd.Subtype == pg.AlterTableType_AT_ValidateConstraint:
		return false, j.checksAgain(t)
	case cmd.Subtype == pg.AlterTableType_AT_AlterColumnType:
		if err := j.checksAgain(t); err != nil {
			return false, err
		}
		return false, j.alterType(t, cmd)
	case cmd.Subtype == pg.AlterTableType_AT_DetachPartition && t != nil && t.Hashed != "":
		return false, j.refuse("DETACH PARTITION of "+t.Qualified(), -1, "the rows of its partitions are others on a backup: it is partitioned by hashes that differ between servers",
			"Copy the rows that are to stay to another table.")
	case cmd.Subtype == pg.AlterTableType_AT_DetachPartitionFinalize:
		// And a plain DETACH there would lack the CHECK that CONCURRENTLY makes.
		return false, j.refuse("DETACH PARTITION … FINALIZE", -1, "nothing of the DETACH … CONCURRENTLY that was cancelled is on the backups",
			"Run it on the primary directly, and DETACH PARTITION … CONCURRENTLY on each backup.")
	case cmd.Subtype == pg.AlterTableType_AT_SetLogged:
		return false, j.refuse("ALTER TABLE … SET LOGGED", -1, "what the table holds so far is on no backup", "Create a table anew and insert the rows into it.")
	case cmd.Subtype == pg.AlterTableType_AT_ColumnDefault:
		if c := columnOf(t, cmd.Name); c != nil && holdsOffset(c) {
			return false, j.literal(cmd.Def.GetAConst(), offsetTime)
		}
		return false, nil
	case slices.Contains(plainAlters, cmd.Subtype):
		return false, nil
	}
	return false, j.refuse("ALTER TABLE with a command that opmux does not know", -1, "what it does to rows is not known", "Run it on each server directly while no application is connected.")
}

// columnOf is a column of a table that may not be known, nil for none.
func columnOf(t *catalog.Table, name string) *catalog.Column {
	if t == nil {
		return nil
	}
	return t.Column(name)
}

// isThere says that ADD COLUMN IF NOT EXISTS has nothing to do. Behind it the column
// is there in any case.
func (j *job) isThere(t *catalog.Table, cmd *pg.AlterTableCmd) bool {
	return j.in.Behind == nil && cmd.MissingOk && t != nil && t.Column(cmd.Def.GetColumnDef().GetColname()) != nil
}

// alterType judges a new type. Where its values are not a function of the old ones alone
// they are read back, or it is refused.
func (j *job) alterType(t *catalog.Table, cmd *pg.AlterTableCmd) error {
	if j.in.Behind != nil {
		return j.refuse("ALTER COLUMN "+cmd.Name+" TYPE", -1, "what the column was before is not known", aloneHint)
	}
	if t == nil {
		return nil // the server says so
	}
	c := t.Column(cmd.Name)
	if c == nil {
		return fmt.Errorf("column %s: %w", cmd.Name, errMustFail)
	}
	def := cmd.Def.GetColumnDef()
	oid, err := j.typeOID(def.GetTypeName())
	if err != nil {
		return err
	}
	const hint = "Add a column, fill it by UPDATE, and drop the old one."
	s := scope{table: t, rel: t.Name}
	plain, using, err := j.toPlain(def)
	if err != nil {
		return err
	}
	why, err := j.unsafe(using, "", s)
	if err != nil {
		return err
	}
	if why == "" && def.GetRawDefault() != nil && j.pinsTime(def.GetRawDefault()) {
		why = "it uses the time of the ALTER, which differs on each server"
	}
	enum, err := j.isEnum(def.GetTypeName())
	if err != nil {
		return err
	}
	dated := oid == 0 && !enum && !plain || slices.Contains(dated, oid)
	if why == "" && dated && !mayBeDated(c) && columnCategory(c) == "S" {
		why = "text may hold special date words (now, today)"
	}
	foreign, err := j.foreignValues(c, oid)
	if err != nil {
		return err
	}
	if why != "" && foreign == "" && oid != 0 {
		if filled, err := j.fillType(t, c.Name, def.GetRawDefault()); filled || err != nil {
			return err
		}
	}
	if why = cmp.Or(why, foreign); why != "" {
		return j.refuse("ALTER COLUMN "+cmd.Name+" TYPE", -1, why, hint)
	}
	return nil
}

// foreignValues says why images of a column of a new type would not do either.
func (j *job) foreignValues(c *catalog.Column, oid uint32) (why string, err error) {
	switch {
	case slices.Contains(offsetTimes, oid) && c.BaseOID != oid:
		return ofTheDay, nil
	case slices.Contains(objects, oid) || slices.Contains(objects, c.BaseOID):
		return "object numbers differ between servers", nil
	}
	facts, err := j.facts()
	if err == nil && facts.UserCasts && !convertsPlainly(oid, columnCategory(c)) {
		why = "it may run a cast of the user's"
	}
	return why, err
}

// toPlain says that a column becomes one of an extension's plain types, and of what: the
// expression of USING without its cast to that type.
func (j *job) toPlain(def *pg.ColumnDef) (plain bool, using *pg.Node, err error) {
	using = def.GetRawDefault()
	plain, err = j.isPlain(def.GetTypeName())
	if cast := using.GetTypeCast(); plain && cast != nil {
		_, to := name(def.GetTypeName().GetNames())
		if _, last := name(cast.GetTypeName().GetNames()); last == to && len(cast.GetTypeName().GetArrayBounds()) == 0 {
			using = cast.Arg
		}
	}
	return plain, using, err
}
