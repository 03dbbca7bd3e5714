package classify

import (
	"strings"
	"testing"
)

// What Anonymise leaves of a statement holds nothing that the application's users
// gave, wherever it stands.
func TestAnonymiseLeavesNoConstant(t *testing.T) {
	for sql, want := range map[string]string{
		"UPDATE t SET a = 'secret' WHERE id = 4711":                                  "UPDATE t SET a = $1 WHERE id = $2",
		"UPDATE t\n  SET a = $1\tWHERE id = $2;":                                     "UPDATE t SET a = $1 WHERE id = $2",
		"/* secret */ SELECT 1 -- secret\n FROM t":                                   "SELECT $1 FROM t",
		"CREATE USER bob PASSWORD 'secret'":                                          "CREATE USER bob PASSWORD $1",
		"ALTER ROLE bob WITH ENCRYPTED PASSWORD 'secret'":                            "ALTER ROLE bob WITH ENCRYPTED PASSWORD $1",
		"CREATE SUBSCRIPTION s CONNECTION 'password=secret' PUBLICATION p":           "CREATE SUBSCRIPTION s CONNECTION $1 PUBLICATION p",
		"CREATE USER MAPPING FOR bob SERVER s OPTIONS (password 'secret')":           "CREATE USER MAPPING FOR bob SERVER s OPTIONS (password $1)",
		"CREATE TABLE t (a varchar(4711) DEFAULT 'secret', CHECK (a <> U&'secret'))": "CREATE TABLE t (a varchar(…) DEFAULT …, CHECK (a <> …))",
		"COMMENT ON TABLE t IS $secret$secret$secret$":                               "COMMENT ON TABLE t IS …",
		"DO $$ BEGIN PERFORM 'secret'; END $$":                                       "DO $1",
		"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''secret'''":       "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $1",
		"CREATE FUNCTION f() RETURNS text LANGUAGE sql RETURN 'secret'":              "CREATE FUNCTION f() RETURNS text LANGUAGE sql RETURN …",
		"EXECUTE p('secret', 4711, x'4711')":                                         "EXECUTE p(…, …, …)",
		"PREPARE p(int) AS UPDATE t SET a = E'secret\\n' WHERE id = $1":              "PREPARE p(int) AS UPDATE t SET a = … WHERE id = $1",
		"COPY t FROM STDIN WITH (NULL 'secret')":                                     "COPY t FROM STDIN WITH (NULL …)",
		"CREATE VIEW v AS SELECT 'secret' AS s /* secret /* secret */ */":            "CREATE VIEW v AS SELECT … AS s",
		"PREPARE TRANSACTION 'secret'":                                               "PREPARE TRANSACTION …",
		"NOTIFY ch, 'secret'":                                                        "NOTIFY ch, $1",
		"SET my.key = 'secret'":                                                      "SET my.key = $1",
		"INSERT INTO \"Grün\" VALUES ('ü', 'secret')":                                "INSERT INTO \"Grün\" VALUES ($1, $2)",
		"SELEC 'secret'": Unparsable,
		"ALTER TABLE t ADD COLUMN c text DEFAULT 'it''s ' \n 'secret', ADD d numeric(4,711)": "ALTER TABLE t ADD COLUMN c text DEFAULT …, ADD d numeric(…,…)",
	} {
		got := Anonymise(sql)
		if got != want {
			t.Errorf("%s\n  became %s\n  want   %s", sql, got, want)
		}
		if strings.Contains(got, "secret") || strings.Contains(got, "4711") {
			t.Errorf("%s: a constant is left in %s", sql, got)
		}
	}
}
