package property

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// syncs is the kind of a Sync in a pipeline.
const syncs = "sync"

// pipeline sends many statements before it reads an answer.
func (c *client) pipeline(ctx context.Context) error {
	var sent []piped
	send := func(st stmt) { sent = append(sent, piped{st, c.formats()}) }
	open := false
	for range 1 + c.r.IntN(3) {
		for range 1 + c.r.IntN(2) {
			if !open && chance(c.r, 50) {
				send(stmt{kind: "control", sql: pick(c.r, begins...), fields: anyFields})
				open = true
			}
			for range c.r.IntN(4) {
				send(c.s.draw(c.r))
			}
			if open && chance(c.r, 70) {
				send(stmt{kind: "control", sql: pick(c.r, "COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"), fields: anyFields})
				open = false
			}
		}
		send(stmt{kind: syncs})
	}
	if _, err := c.do(ctx, action{verb: pipes, piped: sent}); err != nil {
		return err
	}
	if c.conn.TxStatus() != idle {
		_, err := c.control(ctx, "COMMIT")
		return c.ended(err)
	}
	return nil
}

func (c *client) performPipeline(ctx context.Context, sent []piped) error {
	p := c.conn.StartPipeline(ctx)
	for _, st := range sent {
		if st.kind == syncs {
			p.SendPipelineSync()
		} else {
			p.SendQueryParams(st.sql, st.values(), nil, nil, st.formats)
		}
	}
	if err := p.Flush(); err != nil {
		return findingf("sending a pipeline: %v", err)
	}
	if err := c.results(p, sent); err != nil {
		return err
	}
	if err := p.Close(); err != nil && code(err) == "" {
		return findingf("closing a pipeline: %v", err)
	}
	return nil
}

// results reads what a pipeline answers, up to its last Sync.
func (c *client) results(p *pgconn.Pipeline, sent []piped) error {
	at := 0
	for at < len(sent) {
		result, err := p.GetResults()
		if err != nil {
			c.note(sent[at].kind, sent[at].inline(), "", err)
			if finding := c.ledger.judge(sent[at].stmt, err); finding != nil {
				return finding
			}
			for sent[at].kind != syncs {
				at++
			}
			continue
		}
		switch result := result.(type) {
		case *pgconn.PipelineSync:
			if sent[at].kind != syncs {
				return findingf("a pipeline synchronised before it answered %s", sent[at].inline())
			}
			at++
		case *pgconn.ResultReader:
			n, tag, err := answer(result)
			c.note(sent[at].kind, sent[at].inline(), tag, err)
			if finding := c.ledger.judge(sent[at].stmt, err); finding != nil {
				return finding
			}
			if err != nil {
				for sent[at].kind != syncs {
					at++
				}
				continue
			}
			if sent[at].fields != anyFields && n != sent[at].fields {
				return findingf("%d result columns in a pipeline, want %d: %s", n, sent[at].fields, sent[at].inline())
			}
			at++
		default:
			return findingf("a pipeline answered %T", result)
		}
	}
	return nil
}

// several sends more than one statement in one Query.
func (c *client) several(ctx context.Context) error {
	var parts []string
	var mayRefuse string
	open := chance(c.r, 40)
	if open {
		parts = append(parts, pick(c.r, begins...))
	}
	for range 2 + c.r.IntN(3) {
		st := c.s.draw(c.r)
		parts = append(parts, st.inline())
		mayRefuse += st.mayRefuse
	}
	if open && chance(c.r, 85) {
		parts = append(parts, pick(c.r, "COMMIT", "COMMIT", "ROLLBACK"))
		if chance(c.r, 30) {
			parts = append(parts, c.s.draw(c.r).inline())
			mayRefuse += "what follows"
		}
	}
	st := stmt{kind: "several", sql: strings.Join(parts, "; "), mayRefuse: mayRefuse}
	if _, err := c.do(ctx, action{verb: several, st: st}); err != nil {
		return err
	}
	if c.conn.TxStatus() != idle {
		return c.end(ctx)
	}
	return nil
}
