// Package property holds the test that no list of cases replaces: random
// schemas and random workloads, by many clients at once, through agents on a
// real primary, after which the backup must be the same and every verdict a
// match. What an application may do is drawn in script_test.go and
// statements_test.go, what its tables look like in schema_test.go.
//
// Without variables a short form runs, always with the same scripts. With
// OPMUX_PROPERTY_SECONDS it is as long as that for each of its forms, and draws
// others. OPMUX_PROPERTY_SEED repeats a run's schema and scripts (how clients interleave
// is the machine's), and OPMUX_PROPERTY_DIR keeps a run's logs, a file of
// statements for each client among them.
package property
