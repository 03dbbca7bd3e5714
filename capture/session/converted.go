package session

import (
	"context"
	"fmt"
	"slices"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgencoding"
)

// cannot says what keeps a plan of the client's text from being carried in the
// session's encoding.
func (c charset) cannot(p *classify.Plan, text string) *classify.Refusal {
	if c.name == utf8Name {
		return nil
	}
	if c.guessed && !pgencoding.ASCII(text) && !onlyReads(p, text) {
		return encodingRefusal(c)
	}
	for _, one := range []*classify.Plan{p, p.Inner} {
		if one == nil {
			continue
		}
		if why := one.UTF8Only(); why != "" {
			return &classify.Refusal{Construct: "COPY in client_encoding " + c.name, Reason: why, Hint: "SET client_encoding = 'UTF8'."}
		}
		if one.Kind == classify.Copy && !one.OwnEncoding() && !c.exact() {
			return encodingRefusal(c)
		}
		for _, oid := range one.CopyTypes {
			if _, known := c.binaryForm(oid); !known {
				return &classify.Refusal{Construct: "binary COPY in client_encoding " + c.name,
					Reason: fmt.Sprintf("where text is in the binary form of a column's type (OID %d) is not known", oid),
					Hint:   "Use the text format, or SET client_encoding = 'UTF8'."}
			}
		}
	}
	if !c.writes(p, text) {
		return &classify.Refusal{Construct: "statement in client_encoding " + c.name, Always: true,
			Reason: "it would go to the server with characters that this encoding has not: names of columns or tables, or what came in another encoding",
			Hint:   "SET client_encoding = 'UTF8'."}
	}
	return nil
}

// converts refuses what the server may convert otherwise than is known here.
func (s *Session) converts(ctx context.Context, q catalog.Querier, c charset) (*classify.Refusal, error) {
	facts, err := s.deps.Catalog.Facts(ctx, q)
	if err != nil || !facts.Conversions {
		return nil, err
	}
	return &classify.Refusal{Construct: "statement in client_encoding " + c.name, Reason: "the database has a default conversion that is not built in",
		Hint: "SET client_encoding = 'UTF8'; or DROP CONVERSION."}, nil
}

// onlyReads tells statements that pass as they are and whose text, but for constants and
// comments, is ASCII: which characters the others are changes nothing of what they do.
func onlyReads(p *classify.Plan, text string) bool {
	return p.Kind == classify.Pass && p.SQL == text && !p.ContextChanges && !p.DiscardsStatements && !p.CatalogChanges && classify.ASCIINames(text)
}

// writes tells whether what goes to the server for a plan can be written. What the
// agent adds to the client's own text is in UTF-8, whatever that was taken for.
func (c charset) writes(p *classify.Plan, text string) bool {
	sent := []string{p.SQL, p.Lock}
	if p.Computes != nil {
		sent = append(sent, p.Computes.SQL())
	}
	if p.CopyDraw != nil {
		sent = append(sent, p.CopyDraw.Text, p.CopyDraw.SQL(1))
	}
	return !slices.ContainsFunc(sent, func(one string) bool {
		_, whole := c.encode(one)
		return !whole || c.guessed && one != text && !pgencoding.ASCII(one)
	})
}
