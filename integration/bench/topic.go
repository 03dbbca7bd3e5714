package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/opmux/opmux/internal/rig"
)

const topicIntro = "What Apache Kafka keeps on disk for each TPC-B transaction at scale 20: headers of batches and compression " +
	"included. More clients share batches, which compress better. The goal is that of 8 clients, prepared, gate recorded: " +
	"the transaction (INTENT) and its OUTCOME."

const maxTopicBytes = 235

// topic measures bytes on the topics.
func (b *bench) topic(ctx context.Context, w *world) error {
	if err := w.pgbench.fill(ctx, 20); err != nil {
		return err
	}
	t := table{head: []string{"gate", "mode", "clients", "bytes/tx on ops", "bytes/tx on digests"}}
	for _, gate := range []string{recorded, none} {
		for _, mode := range []string{"prepared", "simple"} {
			for _, n := range []int{clients, 1} {
				ops, digests, err := b.topicBytes(ctx, w, gate, workload{"tpcb", mode, 20}, n)
				if err != nil {
					return err
				}
				b.say("gate %s, %s, %d clients: %.0f bytes a transaction on ops, %.0f on digests", gate, mode, n, ops, digests)
				t.rows = append(t.rows, []string{gate, mode, strconv.Itoa(n), number(ops), number(digests)})
				if gate == recorded && mode == "prepared" && n == clients {
					b.report.goal(goal{what: "bytes a TPC-B transaction on the topic", want: maxTopicBytes, got: ops, atMost: true, unit: "bytes"})
				}
			}
		}
	}
	b.report.add("Bytes on the topic", topicIntro, t)
	return nil
}

func (b *bench) topicBytes(ctx context.Context, w *world, gate string, load workload, clients int) (ops, digests float64, err error) {
	var sizes [2][2]int64
	var n int
	for i := range sizes {
		if i == 1 {
			o, err := w.pgbench.speed(ctx, w.portOf(wayName(gate, rig.KafkaReal)), load, clients, "-T", strconv.Itoa(b.topicSeconds))
			if err != nil {
				return 0, 0, err
			}
			n = o.transactions
		}
		for j, topic := range []string{"ops", "digests"} {
			if sizes[i][j], err = w.opsBytes(gate, topic); err != nil {
				return 0, 0, err
			}
		}
	}
	if n == 0 {
		return 0, 0, fmt.Errorf("no transaction went through gate %s", gate)
	}
	return float64(sizes[1][0]-sizes[0][0]) / float64(n), float64(sizes[1][1]-sizes[0][1]) / float64(n), nil
}

func (w *world) portOf(name string) int {
	for _, way := range w.ways {
		if way.name == name {
			return way.port
		}
	}
	return 0
}
