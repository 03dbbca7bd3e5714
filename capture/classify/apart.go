package classify

import (
	"errors"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// apart notes which tables ALTER TABLE adds constraints and partitions to, where it does
// nothing else: the columns of those that are there stay what they were.
func (j *job) apart(t *catalog.Table, cmds []*pg.Node) error {
	if t == nil {
		return nil
	}
	list := []string{t.Qualified()}
	for _, c := range cmds {
		cmd := c.GetAlterTableCmd()
		switch cmd.Subtype {
		case pg.AlterTableType_AT_AddConstraint:
		case pg.AlterTableType_AT_AttachPartition:
			rv := cmd.Def.GetPartitionCmd().GetName()
			part, err := j.lookup(rv.GetSchemaname(), rv.GetRelname())
			if errors.Is(err, errMustFail) {
				return nil // the server says so
			}
			if err != nil {
				return err
			}
			list = append(list, part.Qualified())
		default:
			return nil
		}
	}
	j.plan.Apart = list
	return nil
}
