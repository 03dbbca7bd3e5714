// Package corpus runs SQL that somebody else wrote: PostgreSQL's own regression
// files, its isolation specs, any folder of psql scripts. Each file runs directly
// and again directly on one server, then through the capture agent on an equal
// one, with a worker that follows on a backup. What psql (or isolationtester)
// printed must be the same to the byte (I5), but for the lines in which the two
// direct runs differ, and the backup must have the primary's tables and
// definitions but for what was flagged (I6).
//
// The folders are not part of opmux. OPMUX_CORPUS_REGRESS and
// OPMUX_CORPUS_ISOLATION name them, testdata is opmux's own small one; see
// docs/reliability.md for the other variables and for how to get the folders.
package corpus
