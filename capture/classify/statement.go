package classify

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/event"
)

// statement plans one statement by its kind. What is not listed, here or among
// DDL, is refused.
func (j *job) statement(n *pg.Node) error {
	if with := modifying(n); with != nil {
		return j.with(n, with)
	}
	switch s := n.Node.(type) {
	case *pg.Node_SelectStmt:
		return j.selects(n, s.SelectStmt)
	case *pg.Node_InsertStmt:
		return j.insert(n, s.InsertStmt)
	case *pg.Node_UpdateStmt:
		return j.update(n, s.UpdateStmt)
	case *pg.Node_DeleteStmt:
		return j.delete(n, s.DeleteStmt)
	case *pg.Node_MergeStmt:
		return j.refuse("MERGE", -1, "it inserts, updates and deletes in one statement whose rows cannot be told apart", "Use INSERT … ON CONFLICT, UPDATE and DELETE.")
	case *pg.Node_CopyStmt:
		return j.copy(n, s.CopyStmt)
	case *pg.Node_TruncateStmt:
		return j.truncate(s.TruncateStmt)
	case *pg.Node_TransactionStmt:
		return j.transaction(s.TransactionStmt)
	case *pg.Node_VariableSetStmt:
		return j.set(s.VariableSetStmt)
	case *pg.Node_DiscardStmt:
		return j.discard(s.DiscardStmt)
	case *pg.Node_DeclareCursorStmt:
		return j.cursor(s.DeclareCursorStmt)
	case *pg.Node_ExplainStmt:
		return j.explain(s.ExplainStmt)
	case *pg.Node_PrepareStmt:
		return j.prepare(s.PrepareStmt)
	case *pg.Node_ExecuteStmt:
		return j.execute(s.ExecuteStmt)
	case *pg.Node_DeallocateStmt:
		j.plan.Kind, j.plan.Name, j.plan.DiscardsStatements = Deallocate, s.DeallocateStmt.Name, s.DeallocateStmt.Isall
		return nil
	case *pg.Node_VariableShowStmt, *pg.Node_ListenStmt, *pg.Node_UnlistenStmt, *pg.Node_NotifyStmt, *pg.Node_LockStmt,
		*pg.Node_ClosePortalStmt, *pg.Node_CheckPointStmt, *pg.Node_LoadStmt:
		return nil
	case *pg.Node_FetchStmt:
		j.plan.Awake = j.awake("a cursor's query runs as it is fetched")
		return nil
	case *pg.Node_ConstraintsSetStmt:
		j.plan.Awake = j.awake("deferred triggers may run in it")
		return nil
	case *pg.Node_VacuumStmt, *pg.Node_ReindexStmt, *pg.Node_ClusterStmt, *pg.Node_AlterSystemStmt,
		*pg.Node_CreatedbStmt, *pg.Node_DropdbStmt:
		j.plan.Kind, j.plan.Reason = Maintenance, "changes nothing that the source's database holds"
		j.plan.Rebuilds = rebuilds(n)
		return nil
	}
	return j.ddl(n)
}

// constructInto names SELECT … INTO.
const constructInto = "SELECT INTO"

// selects plans SELECT, VALUES and TABLE. SELECT INTO of a temporary table is the
// session's own affair.
func (j *job) selects(n *pg.Node, st *pg.SelectStmt) error {
	if into := *intoClause(st); into != nil {
		n = proto.Clone(n).(*pg.Node)
		*intoClause(n.GetSelectStmt()) = nil
		j.plan.CatalogChanges = true
		if !isTempName(into.Rel) && !j.makesTemporary() {
			j.plan.Construct = constructInto
			return j.makesOf(into, n)
		}
		j.plan.Reason, j.uncacheable = "temporary table", true
	}
	if err := j.scan(n); err != nil {
		return err
	}
	return j.finishRead()
}

// construct names a statement for people: its first words.
func construct(n *pg.Node) string {
	if n == nil || n.Node == nil {
		return "statement"
	}
	switch s := n.Node.(type) {
	case *pg.Node_CreateTableAsStmt:
		switch {
		case s.CreateTableAsStmt.IsSelectInto:
			return constructInto
		case s.CreateTableAsStmt.Objtype == pg.ObjectType_OBJECT_MATVIEW:
			return "CREATE MATERIALIZED VIEW"
		}
		return "CREATE TABLE AS"
	case *pg.Node_CreateStmt:
		return "CREATE TABLE"
	case *pg.Node_IndexStmt:
		return "CREATE INDEX"
	case *pg.Node_DropStmt:
		return "DROP " + objectName(s.DropStmt.RemoveType)
	case *pg.Node_VariableSetStmt:
		return "SET"
	case *pg.Node_TransactionStmt:
		return transactionName(s.TransactionStmt.Kind)
	case *pg.Node_DoStmt:
		return "DO"
	case *pg.Node_CreateEventTrigStmt:
		return "CREATE EVENT TRIGGER"
	case *pg.Node_AlterEventTrigStmt:
		return "ALTER EVENT TRIGGER"
	case *pg.Node_RefreshMatViewStmt:
		return "REFRESH MATERIALIZED VIEW"
	case *pg.Node_GrantStmt:
		if !s.GrantStmt.IsGrant {
			return "REVOKE"
		}
		return "GRANT"
	case *pg.Node_GrantRoleStmt:
		return "GRANT of a role"
	}
	// UpdateStmt → UPDATE, CreateSeqStmt → CREATE SEQ.
	name := string(n.ProtoReflect().WhichOneof(n.ProtoReflect().Descriptor().Oneofs().ByName("node")).Message().Name())
	var b strings.Builder
	for i, r := range strings.TrimSuffix(name, "Stmt") {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

func transactionName(k pg.TransactionStmtKind) string {
	return strings.ReplaceAll(strings.TrimPrefix(k.String(), "TRANS_STMT_"), "_", " ")
}

func objectName(t pg.ObjectType) string {
	return strings.ReplaceAll(strings.TrimPrefix(t.String(), "OBJECT_"), "_", " ")
}

// nodes makes walkable parts of a list.
func nodes(lists ...[]*pg.Node) []proto.Message {
	var out []proto.Message
	for _, l := range lists {
		for _, n := range l {
			out = append(out, n)
		}
	}
	return out
}

// write starts the plan of a statement that changes rows.
func (j *job) write(class event.Class, reason string) {
	j.plan.Kind, j.plan.Class, j.plan.Reason = Write, class, reason
}
