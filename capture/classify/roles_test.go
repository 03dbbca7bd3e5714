package classify_test

import (
	"testing"

	"github.com/opmux/opmux/capture/classify"
)

// Roles stay on their server under every policy; privileges travel under one.
func TestRolesByPolicy(t *testing.T) {
	r := newRig(t, shop...)
	for _, policy := range []struct{ name, privileges, roles string }{
		{classify.RolesRefuse, "refused", "refused"}, {classify.RolesPass, "pass", "pass"}, {classify.RolesPublish, "ddl", "pass"},
	} {
		r.c = classify.New(classify.Config{Catalog: r.cat, Roles: policy.name})
		schema := "refused"
		if policy.name == classify.RolesPublish {
			schema = "ddl"
		}
		r.check([]want{
			{`GRANT SELECT ON jobs TO public`, policy.privileges, ""}, {`REVOKE ALL ON jobs FROM public`, policy.privileges, ""},
			{`GRANT SELECT (id) ON jobs TO public`, policy.privileges, ""}, {`GRANT USAGE ON SCHEMA public TO public`, policy.privileges, ""},
			{`ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO public`, policy.privileges, ""},
			{`CREATE ROLE x PASSWORD 'secret'`, policy.roles, ""}, {`ALTER USER postgres PASSWORD 'secret'`, policy.roles, ""}, {`GRANT postgres TO x`, policy.roles, ""},
			{`ALTER ROLE x SET work_mem = '1MB'`, policy.roles, ""}, {`DROP ROLE x`, policy.roles, ""}, {`REASSIGN OWNED BY x TO postgres`, policy.privileges, ""},
			{`GRANT USAGE ON SCHEMA opmux TO public`, policy.roles, ""}, {`GRANT SELECT ON ALL SEQUENCES IN SCHEMA opmux TO public`, policy.roles, ""},
			{`GRANT SELECT ON opmux.ddl_counter TO public`, policy.roles, ""}, {`GRANT EXECUTE ON FUNCTION opmux.count_ddl() TO public`, "refused", ""},
			{`DROP OWNED BY x`, "refused", ""}, {`CREATE SCHEMA s CREATE TABLE x (id int) GRANT SELECT ON x TO public`, schema, ""},
		})
	}
}
