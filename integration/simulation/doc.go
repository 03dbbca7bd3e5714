// Package simulation explores the order protocol (DESIGN §4.1, §4.3, §7): the real
// ledgers of capture/order, with everything that an epoch runs, and the real
// scheduler of apply/schedule, between a simulated primary, a simulated Kafka and
// a simulated target, under testing/synctest's clock. A run is drawn from a seed:
// clients, latencies, losses, crashes. In its end the target is compared with the
// primary, and everything that a client was told with both.
//
// What is simulated here is what lies outside of the code under test: locks,
// commits and crashes of servers (primary*, target), appends, lost answers and late
// arrivals of Kafka (broker*), processes that are killed (process), and the thin
// layers that need a connection: the session's order of calls (session, after
// capture/session), the lane's commit (lane, after apply/execute), the take-over
// (after apply/position).
//
// rules_test.go breaks each rule of the protocol on purpose, and sees it caught.
package simulation
