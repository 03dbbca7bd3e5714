package classify

import pg "github.com/pganalyze/pg_query_go/v6"

// What becomes of statements about roles and privileges. Roles belong to a server, with
// all of its databases, and their passwords have no business in a topic: they never
// travel. Privileges belong to the database's objects, and can.
const (
	RolesRefuse  = "refuse"  // not run
	RolesPass    = "pass"    // run on the primary, not published
	RolesPublish = "publish" // privileges and who owns what are published, the rest passes
)

const (
	rolesReason = "roles and privileges are each server's own"
	rolesHint   = "Run it on the primary and on each backup directly; or set capture.roles."
)

// roles plans a statement about roles or privileges.
func (j *job) roles(n *pg.Node) error {
	if n.GetDropOwnedStmt() != nil { // it drops tables, too
		return j.refuse(construct(n), -1, rolesReason, "DROP the objects by name, and REVOKE the privileges.").all()
	}
	if j.c.roles == RolesPublish && (n.GetAlterDefaultPrivilegesStmt() != nil || n.GetReassignOwnedStmt() != nil || n.GetGrantStmt() != nil && !onOpmux(n.GetGrantStmt())) {
		return j.define()
	}
	if j.c.roles == RolesPass || j.c.roles == RolesPublish {
		j.plan.CatalogChanges, j.plan.Reason, j.uncacheable = true, rolesReason, true
		return nil
	}
	return j.refuse(construct(n), -1, rolesReason, rolesHint).none()
}

// RolesInside refuses statements about roles that ran inside of another one, where they
// are refused on their own.
func (c *Classifier) RolesInside(construct string) error {
	if c.roles == RolesPass || c.roles == RolesPublish {
		return nil
	}
	return &Refusal{Construct: "a statement about roles inside of " + construct, Reason: rolesReason, Hint: rolesHint}
}

// onOpmux tells a GRANT on what is opmux's own, which is another on each server.
func onOpmux(st *pg.GrantStmt) bool {
	for _, o := range st.Objects {
		if o.GetRangeVar().GetSchemaname() == "opmux" || o.GetString_().GetSval() == "opmux" {
			return true
		}
	}
	return false
}
