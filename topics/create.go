package topics

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Want names whose topics there should be. Config is the path of the
// configuration that names them, for messages.
type Want struct {
	Sources []string
	Targets []string
	Config  string
}

// MissingTopicsError says which topics there are not.
type MissingTopicsError struct {
	Topics []string
	Config string // path of the program's configuration; may be empty
}

func (e *MissingTopicsError) Error() string {
	config := e.Config
	if config == "" {
		config = "F"
	}
	return fmt.Sprintf("these topics do not exist: %s; make them with `opmux topics create --config %s`", strings.Join(e.Topics, ", "), config)
}

// WrongTopicsError says which settings of existing topics would lose or
// reorder records.
type WrongTopicsError struct{ Problems []Problem }

func (e *WrongTopicsError) Error() string {
	list := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		list[i] = p.String()
	}
	return "topics with settings that opmux cannot work with: " + strings.Join(list, "; ")
}

// Problem is a setting of a topic that is not as it should be.
type Problem struct {
	Topic   string
	Setting string // "exists" where the topic is missing
	Have    string
	Want    string
	Fatal   bool // false: a warning
}

func (p Problem) String() string {
	return fmt.Sprintf("topic %s: %s is %s, expected %s", p.Topic, p.Setting, p.Have, p.Want)
}

// Report says what Create did.
type Report struct {
	Created  []string
	Existing []string
	Problems []Problem // of existing and of created topics, warnings included
}

// spec is what one topic should be.
type spec struct {
	name       string
	partitions int32
	exact      bool // of partitions; otherwise any number does
	configs    map[string]string
}

const (
	cleanupPolicy  = "cleanup.policy"
	retentionMS    = "retention.ms"
	retentionBytes = "retention.bytes"
	minInSync      = "min.insync.replicas"
	maxMessage     = "max.message.bytes"
)

func (c Config) specs(want Want, brokers int) (list []spec, replication int) {
	s := c.Settings
	replication = s.Replication
	if replication == 0 {
		replication = min(3, brokers)
	}
	inSync := s.MinInSync
	if inSync == 0 {
		inSync = min(2, replication)
	}
	partitions := int32(s.Partitions)
	if partitions == 0 {
		partitions = defaultPartitions
	}
	retention := "-1"
	if s.Retention > 0 {
		retention = strconv.FormatInt(s.Retention.Milliseconds(), 10)
	}
	configs := func(policy string) map[string]string {
		m := map[string]string{cleanupPolicy: policy, minInSync: strconv.Itoa(inSync), maxMessage: strconv.Itoa(maxBatchBytes)}
		if policy == "delete" {
			m[retentionMS], m[retentionBytes] = retention, "-1"
		}
		return m
	}
	n := c.Names()
	for _, source := range want.Sources {
		// I3: one partition is one order; I1: nothing is compacted or expires by default.
		list = append(list, spec{n.Ops(source), 1, true, configs("delete")},
			spec{n.Digests(source), partitions, false, configs("delete")})
	}
	list = append(list, spec{n.Verdicts(), partitions, false, configs("delete")},
		spec{n.Status(), 1, true, configs("compact")})
	return list, replication
}

const createPoll = 50 * time.Millisecond

// Create makes the topics that want needs and that are not there, and checks
// those that are. It fails with *WrongTopicsError where an existing one is wrong.
func Create(ctx context.Context, cfg Config, want Want) (Report, error) {
	admin, brokers, err := cfg.admin(ctx)
	if err != nil {
		return Report{}, err
	}
	defer admin.Close()
	var report Report
	specs, replication := cfg.specs(want, brokers)
	for _, s := range specs {
		configs := map[string]*string{}
		for k, v := range s.configs {
			configs[k] = &v
		}
		r, err := admin.CreateTopic(ctx, s.partitions, int16(replication), configs, s.name)
		switch {
		case err == nil:
			report.Created = append(report.Created, s.name)
		case errors.Is(err, kerr.TopicAlreadyExists):
			report.Existing = append(report.Existing, s.name)
		default:
			return report, fmt.Errorf("creating topic %s (replication %d): %w %s", s.name, replication, err, r.ErrMessage)
		}
	}
	for {
		report.Problems, err = check(ctx, admin, specs, replication)
		if err != nil {
			return report, err
		}
		// A broker may hear of a topic later than the one that made it.
		err = fatal(report.Problems, want.Config)
		var missing *MissingTopicsError
		if !errors.As(err, &missing) {
			return report, err
		}
		select {
		case <-ctx.Done():
			return report, errors.Join(err, ctx.Err())
		case <-time.After(createPoll):
		}
	}
}

// Check compares the topics that want needs with what they should be.
func Check(ctx context.Context, cfg Config, want Want) ([]Problem, error) {
	admin, brokers, err := cfg.admin(ctx)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	specs, replication := cfg.specs(want, brokers)
	return check(ctx, admin, specs, replication)
}

// Require is Check for a program's start: it fails with *MissingTopicsError or
// *WrongTopicsError, and returns warnings.
func Require(ctx context.Context, cfg Config, want Want) ([]Problem, error) {
	problems, err := Check(ctx, cfg, want)
	if err != nil {
		return nil, err
	}
	return problems, fatal(problems, want.Config)
}

func fatal(problems []Problem, config string) error {
	missing := &MissingTopicsError{Config: config}
	wrong := &WrongTopicsError{}
	for _, p := range problems {
		switch {
		case p.Setting == "exists":
			missing.Topics = append(missing.Topics, p.Topic)
		case p.Fatal:
			wrong.Problems = append(wrong.Problems, p)
		}
	}
	if len(missing.Topics) > 0 {
		return missing
	}
	if len(wrong.Problems) > 0 {
		return wrong
	}
	return nil
}

func (c Config) admin(ctx context.Context) (*kadm.Client, int, error) {
	client, err := c.client()
	if err != nil {
		return nil, 0, err
	}
	admin := kadm.NewClient(client)
	meta, err := admin.BrokerMetadata(ctx)
	if err != nil {
		admin.Close()
		return nil, 0, fmt.Errorf("kafka at %v does not answer: %w", c.Brokers, err)
	}
	return admin, len(meta.Brokers), nil
}

func check(ctx context.Context, admin *kadm.Client, specs []spec, replication int) ([]Problem, error) {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.name
	}
	details, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	var problems []Problem
	var existing []string
	for _, s := range specs {
		d := details[s.name]
		if errors.Is(d.Err, kerr.UnknownTopicOrPartition) || len(d.Partitions) == 0 && d.Err == nil {
			problems = append(problems, Problem{s.name, "exists", "missing", "a topic", true})
			continue
		}
		if d.Err != nil {
			return nil, fmt.Errorf("topic %s: %w", s.name, d.Err)
		}
		existing = append(existing, s.name)
		problems = append(problems, layoutProblems(s, d, replication)...)
	}
	if len(existing) == 0 {
		return problems, nil
	}
	resources, err := admin.DescribeTopicConfigs(ctx, existing...)
	if err != nil {
		return nil, fmt.Errorf("reading topic settings: %w", err)
	}
	for _, s := range specs {
		r, err := resources.On(s.name, nil)
		if err != nil {
			continue // missing: reported above
		}
		if r.Err != nil {
			return nil, fmt.Errorf("topic %s: reading settings: %w", s.name, r.Err)
		}
		have := map[string]string{}
		for _, c := range r.Configs {
			have[c.Key] = c.MaybeValue()
		}
		problems = append(problems, configProblems(s, have)...)
	}
	return problems, nil
}

func layoutProblems(s spec, d kadm.TopicDetail, replication int) []Problem {
	var problems []Problem
	if n := len(d.Partitions); s.exact && n != int(s.partitions) {
		problems = append(problems, Problem{s.name, "partitions", strconv.Itoa(n), strconv.Itoa(int(s.partitions)), true})
	}
	n := d.Partitions.NumReplicas()
	switch {
	case n == 1:
		problems = append(problems, Problem{s.name, "replication", "1", "3 (a single replica loses records with its broker)", false})
	case n < replication:
		problems = append(problems, Problem{s.name, "replication", strconv.Itoa(n), strconv.Itoa(replication), false})
	}
	return problems
}

// configProblems compares settings. Fatal is what loses or reorders records;
// the rest are warnings.
func configProblems(s spec, have map[string]string) []Problem {
	var problems []Problem
	keys := make([]string, 0, len(s.configs))
	for k := range s.configs {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		want, got := s.configs[k], have[k]
		if got == want {
			continue
		}
		wantN, _ := strconv.ParseInt(want, 10, 64)
		gotN, err := strconv.ParseInt(got, 10, 64)
		switch k {
		case cleanupPolicy:
			problems = append(problems, Problem{s.name, k, got, want, true})
		case retentionMS, retentionBytes:
			if enough := err == nil && (gotN < 0 || wantN >= 0 && gotN >= wantN); !enough {
				problems = append(problems, Problem{s.name, k, got, want, true})
			}
		case minInSync:
			if err != nil || gotN < wantN {
				problems = append(problems, Problem{s.name, k, got, want, true})
			}
		case maxMessage:
			if err != nil || gotN < wantN {
				problems = append(problems, Problem{s.name, k, got, want + " or more", true})
			}
		}
	}
	return problems
}
