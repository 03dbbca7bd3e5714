package classify

import (
	"context"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Behind says of DDL that it ran inside of another statement, and is classified after
// that: the catalogue has its effect, and that of what came behind it.
type Behind struct {
	// Dropped is how many of the objects that it names it dropped.
	Dropped int
	// Tables are those of them that were tables.
	Tables []string
}

const aloneHint = "Run the DDL on its own."

// Ran plans DDL that ran inside of a statement, by the rules for DDL of its own; what
// these need to know of the catalogue before it is refused.
func (c *Classifier) Ran(ctx context.Context, in Input) (*Plan, error) {
	p, err := c.Classify(ctx, in)
	if err != nil || p.Kind == Refused {
		return p, err
	}
	var why string
	switch {
	case p.Makes != nil:
		why = "it inserts what it reads, unseen by the capture triggers"
	case p.Computes != nil:
		why = "the tables that it reads must be locked before it"
	case p.Kind == DDL, p.Kind == Pass && p.Reason == rolesReason:
		if in.Behind.Tables != nil {
			p.Tables = in.Behind.Tables
		}
		return p, nil
	case p.Kind == MustFail:
		why = p.Reason
	default:
		why = "it is not what ran"
	}
	p.Kind, p.Refusal = Refused, &Refusal{Construct: p.Construct, Reason: why, Hint: aloneHint}
	return p, nil
}

// behind refuses DDL whose effect, or whose place in the order, hung on what was there
// before it.
//
// A condition (IF EXISTS, IF NOT EXISTS, OR REPLACE) does not: what came of it is
// known, and where nothing did nothing travels. Where something did, a lock that is
// held until the commit keeps what it hung on as it was; that is so for the commands
// here. DROP of several objects, some of which were not there, is refused, since a
// backup may have those at its place in the order.
func (j *job) behind(n *pg.Node) error {
	if j.in.Behind == nil {
		return nil
	}
	switch s := n.Node.(type) {
	case *pg.Node_DropStmt:
		if s.DropStmt.MissingOk && len(s.DropStmt.Objects) != j.in.Behind.Dropped {
			return j.refuse(j.plan.Construct+" IF EXISTS of several objects", -1, "some of them were not there, and may be on a backup at its place in the order",
				"DROP them one by one.")
		}
		return nil
	case *pg.Node_CreateExtensionStmt, *pg.Node_AlterExtensionStmt:
		return j.refuse(j.plan.Construct+"", -1, "what its script writes would be written twice", aloneHint)
	case *pg.Node_CreateStmt, *pg.Node_IndexStmt, *pg.Node_CreateSeqStmt, *pg.Node_CreateSchemaStmt, *pg.Node_CreateStatsStmt,
		*pg.Node_ViewStmt, *pg.Node_CreateFunctionStmt, *pg.Node_CreateTrigStmt, *pg.Node_RuleStmt,
		*pg.Node_AlterTableStmt, *pg.Node_AlterEnumStmt, *pg.Node_RenameStmt, *pg.Node_CommentStmt, *pg.Node_GrantStmt,
		*pg.Node_CreateEnumStmt, *pg.Node_CompositeTypeStmt, *pg.Node_CreateDomainStmt, *pg.Node_CreateRangeStmt, *pg.Node_CreatePolicyStmt:
		return nil
	}
	if text := strings.ToUpper(j.body); strings.Contains(text, "EXISTS") || strings.Contains(text, "REPLACE") {
		return j.refuse(j.plan.Construct+" with a condition", -1, "nothing orders what the condition hangs on", aloneHint)
	}
	return nil
}

// creations are tags of commands that change nothing that was there: neither what a
// name means nor what a table is.
var creations = []string{"CREATE TABLE", "CREATE SEQUENCE", "CREATE FUNCTION", "CREATE PROCEDURE", "COMMENT", "GRANT", "REVOKE"}

// Creates says that DDL with a tag leaves tables that were there what they were.
func Creates(tag string) bool { return slices.Contains(creations, tag) }

// redefinitions are the second words of tags of DDL which may change what functions,
// types and names are.
var redefinitions = words("TYPE DOMAIN FUNCTION PROCEDURE ROUTINE AGGREGATE OPERATOR CAST SCHEMA EXTENSION COLLATION LANGUAGE CONVERSION")

// Redefines says that DDL with a tag may change what was there and other DDL computes
// values by.
func Redefines(tag string) bool {
	list := strings.Fields(tag)
	return len(list) > 1 && redefinitions[list[1]]
}
