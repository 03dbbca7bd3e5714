package classify

import (
	"errors"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
)

// hashed refuses PARTITION BY HASH of what the server hashes by the number of an object:
// an enum's value has another number on each server, so that a row lies in another
// partition, and what names one (TRUNCATE, DETACH, DROP) hits other rows.
func (j *job) hashed(st *pg.CreateStmt) error {
	if st.Partspec.GetStrategy() != pg.PartitionStrategy_PARTITION_STRATEGY_HASH {
		return nil
	}
	return walk(st.Partspec, func(m proto.Message) (bool, error) {
		var column string
		switch d := m.(type) {
		case *pg.PartitionElem:
			column = d.Name
		case *pg.ColumnRef:
			_, column = name(d.Fields)
		}
		if column == "" {
			return true, nil
		}
		same, err := j.hashesTheSame(st, column)
		if err != nil || same {
			return true, err
		}
		return false, j.refuse("PARTITION BY HASH ("+column+")", st.Partspec.Location,
			"values of enums, and of other types that may hold such, are hashed by numbers that differ between servers", "PARTITION BY LIST, or by another column.")
	})
}

// misplaced refuses what names a partition of a table that was made before opmux, whose
// rows are others on a backup. By the name of the whole table they are the same.
func (j *job) misplaced(t *catalog.Table, location int32) error {
	if !t.Misplaced() {
		return nil
	}
	return Misplaced(j.plan.Construct, t).at(location)
}

// dropsMisplaced refuses DROP TABLE of such a partition. Behind it nobody knows what was one.
func (j *job) dropsMisplaced() error {
	if j.in.Behind != nil {
		facts, err := j.facts()
		if err == nil && facts.Hashed {
			err = j.refuse(j.plan.Construct, -1, "it may have been a partition of a table that is partitioned by hashes which differ between servers", aloneHint)
		}
		return err
	}
	for _, t := range j.plan.TableRefs {
		if err := j.misplaced(t, -1); err != nil {
			return err
		}
	}
	return nil
}

// Misplaced is the refusal of what names a partition whose rows are others on each server.
func Misplaced(construct string, t *catalog.Table) *Refusal {
	return &Refusal{Construct: construct + " of partition " + t.Qualified(),
		Reason: "its rows are others on a backup: " + t.Hashed + " is partitioned by hashes of enums or of other types that may hold such, which differ between servers",
		Hint:   "Name " + t.Hashed + ", which has the same rows everywhere."}
}

// hashesTheSame says that a column of a table that is made has a type whose values have
// the same hash on each server.
func (j *job) hashesTheSame(st *pg.CreateStmt, column string) (bool, error) {
	from := slices.Clone(st.InhRelations)
	for _, e := range st.TableElts {
		if d := e.GetColumnDef(); d != nil && d.Colname == column {
			return j.hashesType(d.TypeName)
		}
		if l := e.GetTableLikeClause(); l != nil {
			from = append(from, &pg.Node{Node: &pg.Node_RangeVar{RangeVar: l.Relation}})
		}
	}
	for _, n := range from {
		t, err := j.lookup(n.GetRangeVar().GetSchemaname(), n.GetRangeVar().GetRelname())
		if errors.Is(err, errMustFail) {
			continue
		}
		if err != nil {
			return false, err
		}
		if c := t.Column(column); c != nil {
			return hashesColumn(c), nil
		}
	}
	return false, nil
}

func (j *job) hashesType(t *pg.TypeName) (bool, error) {
	oid, err := j.typeOID(t)
	if err != nil || oid != 0 {
		return !slices.Contains(objects, oid), err
	}
	facts, err := j.facts()
	_, last := name(t.Names)
	return err == nil && slices.Contains([]string{"", "b"}, facts.Types[last]), err // without a kind it must fail
}

func hashesColumn(c *catalog.Column) bool {
	return c.Category != "E" && c.ElementCategory != "E" && !slices.Contains(objects, c.BaseOID) && (c.TypeKind == "b" || !c.UserType)
}
