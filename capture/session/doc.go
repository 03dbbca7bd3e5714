// Package session relays one PostgreSQL client to its primary and captures what
// it commits. It decides nothing about SQL (package classify does) and nothing
// about order beyond one point (package order does): it finds the point of each
// transaction after its last response and before its COMMIT, holds the client
// there, and hands what was captured over.
//
// A session has two goroutines. The front reads the client, plans each message
// and sends it upstream, together with messages of the agent's own; for each it
// puts an entry into a queue that says what the answer will look like and what
// to do with it. The back reads the primary, matches answers with entries, and
// forwards, alters or swallows them. Where the front must know an answer before
// it goes on, it waits for the queue to run empty (drain).
package session
