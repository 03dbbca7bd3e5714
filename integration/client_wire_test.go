package integration

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// pgxWire speaks the protocol message by message: what drivers hide, such as row
// limits on a writing portal, Describe of a portal, errors until Sync.
func pgxWire(ctx context.Context, conn *pgx.Conn, s *transcript) {
	config := conn.Config().Copy()
	raw, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		s.err(err)
		return
	}
	hijacked, err := raw.PgConn().Hijack()
	if err != nil {
		s.err(err)
		return
	}
	defer hijacked.Conn.Close()
	w := &wire{s: s, frontend: hijacked.Frontend}
	parse := func(name, sql string) *pgproto3.Parse { return &pgproto3.Parse{Name: name, Query: sql} }
	sync := &pgproto3.Sync{}

	w.round("suspended portal of a read", parse("", "SELECT i FROM generate_series(1, 5) i"), &pgproto3.Bind{},
		&pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{MaxRows: 2}, &pgproto3.Execute{MaxRows: 2}, &pgproto3.Execute{}, sync)
	w.round("row limit on a write with RETURNING", parse("", "INSERT INTO gx (name) VALUES ('w1'), ('w2'), ('w3') RETURNING name"),
		&pgproto3.Bind{}, &pgproto3.Execute{MaxRows: 2}, &pgproto3.Execute{MaxRows: 2}, sync)
	w.round("row limit 1 on a write without", parse("", "UPDATE gx SET n = 1 WHERE name LIKE 'w_'"),
		&pgproto3.Describe{ObjectType: 'S'}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{MaxRows: 1}, sync)
	w.round("binary results of a write", parse("", "UPDATE gx SET n = 2 WHERE name = 'w1' RETURNING n, name"),
		&pgproto3.Bind{ResultFormatCodes: []int16{1, 0}}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, sync)
	w.round("named portal over two round trips", &pgproto3.Query{String: "BEGIN"})
	w.round("… bound", parse("st", "SELECT i FROM generate_series(1, 4) i"), &pgproto3.Bind{PreparedStatement: "st", DestinationPortal: "po"},
		&pgproto3.Execute{Portal: "po", MaxRows: 1}, sync)
	w.round("… a write between", &pgproto3.Query{String: "UPDATE gx SET n = 3 WHERE name = 'w2'"})
	w.round("… fetched on", &pgproto3.Execute{Portal: "po", MaxRows: 2}, &pgproto3.Close{ObjectType: 'P', Name: "po"}, &pgproto3.Execute{Portal: "po"}, sync)
	w.round("… and out", &pgproto3.Query{String: "ROLLBACK"})
	w.round("unnamed statement after a simple query", parse("", "SELECT 1"), sync)
	w.round("… is gone", &pgproto3.Query{String: "SELECT 2"})
	w.round("… as this says", &pgproto3.Bind{}, &pgproto3.Execute{}, sync)
	w.round("unnamed statement after a wrapped write survives", parse("", "INSERT INTO gx (name) VALUES ($1)"),
		&pgproto3.Bind{Parameters: [][]byte{[]byte("w4")}}, &pgproto3.Execute{}, sync)
	w.round("… bound again", &pgproto3.Bind{Parameters: [][]byte{[]byte("w5")}}, &pgproto3.Execute{}, sync)
	w.round("errors until Sync", parse("", "SELEC"), &pgproto3.Bind{}, &pgproto3.Execute{}, parse("", "SELECT 1"), sync)
	w.round("two writes, one Sync", parse("a", "INSERT INTO gx (name) VALUES ('w6')"), &pgproto3.Bind{PreparedStatement: "a"}, &pgproto3.Execute{},
		parse("b", "INSERT INTO gx (name) VALUES ('w6')"), &pgproto3.Bind{PreparedStatement: "b"}, &pgproto3.Execute{}, sync)
	w.round("duplicate statement name", parse("st", "SELECT 1"), sync)
	w.round("empty query", &pgproto3.Query{String: ""})
	w.round("comment only", &pgproto3.Query{String: "-- nothing"})
	w.round("empty in extended", parse("", ""), &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, sync)
	w.round("unknown close is fine", &pgproto3.Close{ObjectType: 'S', Name: "nosuch"}, sync)
	w.round("what is left", &pgproto3.Query{String: "SELECT name, n FROM gx WHERE name LIKE 'w_' ORDER BY 1"})
}

type wire struct {
	s        *transcript
	frontend *pgproto3.Frontend
}

// round sends messages and notes every answer up to ReadyForQuery.
func (w *wire) round(what string, messages ...pgproto3.FrontendMessage) {
	w.s.say("--", what)
	for _, m := range messages {
		w.frontend.Send(m)
	}
	if err := w.frontend.Flush(); err != nil {
		w.s.say(err)
		return
	}
	for {
		m, err := w.frontend.Receive()
		if err != nil {
			w.s.say(err)
			return
		}
		w.note(m)
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			return
		}
	}
}

func (w *wire) note(m pgproto3.BackendMessage) {
	switch m := m.(type) {
	case *pgproto3.RowDescription:
		for _, f := range m.Fields {
			w.s.say("column", string(f.Name), f.DataTypeOID, f.TableAttributeNumber, f.Format)
		}
	case *pgproto3.DataRow:
		w.s.say(fmt.Sprintf("row %q", m.Values))
	case *pgproto3.CommandComplete:
		w.s.say("complete", string(m.CommandTag))
	case *pgproto3.ReadyForQuery:
		w.s.say("ready", string(m.TxStatus))
	case *pgproto3.ErrorResponse:
		w.s.say("error", m.Severity, m.Code, m.Message, m.Position)
	case *pgproto3.ParameterStatus:
		w.s.say("parameter", m.Name, m.Value)
	default:
		w.s.say(fmt.Sprintf("%T", m))
	}
}
