// Package faults breaks what opmux stands on, Kafka and the databases, under the
// built programs on real servers: each fault ends in a recovery with identical
// tables, or in a stop that says what happened and the way out, and never in a
// divergence. docs/reliability.md lists them.
package faults
