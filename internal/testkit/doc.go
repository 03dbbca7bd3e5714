// Package testkit gives opmux's tests real servers and programs to work with:
// private PostgreSQL servers, Kafka (embedded and Apache's own), the built
// programs as processes, and waiting for conditions. Everything it starts ends
// with the test that asked for it.
package testkit
