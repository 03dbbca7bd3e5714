// Package kill holds the test that kills: while clients write, every part of a
// whole opmux (two agents, worker, verifier, broker, primary and backup) is
// killed or frozen, one after the other or several at once, at random times and
// at named places of the commit path (internal/crashpoint). Each transaction
// writes a token of its own, and its client remembers what it was told: committed,
// failed, or nothing. Every few rounds the clients pause and the tokens are
// counted on both sides (I1, I2, I4).
//
// Without variables a short form runs. OPMUX_KILL_ROUNDS makes it longer,
// OPMUX_KILL_SEED repeats a run's faults (what they hit is the machine's), and
// OPMUX_KILL_DIR keeps logs, where those of a failed run are kept in any case.
package kill
