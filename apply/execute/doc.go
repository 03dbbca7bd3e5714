// Package execute runs groups of transactions on a PostgreSQL target. Each group
// is one target transaction: it moves the lane's position row first and commits
// together with it (I4), sent as one pipeline where nothing forces a pause.
package execute
