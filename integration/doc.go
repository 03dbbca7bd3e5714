// Package integration shows opmux end to end: the built programs as processes,
// real PostgreSQL servers, an embedded broker and Apache Kafka, real clients,
// and what is left on the backup afterwards.
package integration
