// Package memory shows I7 on the built programs: whatever the size of a COPY, a
// transaction, a result or a backlog, and however many sessions there are, the
// resident memory of agent, worker and verifier stays under most.
//
// Without variables a short form runs, its sizes still many times what a
// program that held them could hide under the bound. OPMUX_MEMORY=long runs the
// sizes that docs/reliability.md tells of, in about half an hour.
package memory
