package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// A sample is one measurement of one thing done by one agent. Samples of one thing with the same turn and place
// were taken seconds apart: they make a pair.
type sample struct {
	Thing string  `json:"thing"`
	Agent string  `json:"agent"`
	Turn  int     `json:"turn"`
	Place int     `json:"place"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// A judgement is a number with what it may be at most; Most 0 means that it is only told.
type judgement struct {
	Thing string  `json:"thing"`
	Agent string  `json:"agent"`
	Value float64 `json:"value"`
	Most  float64 `json:"most,omitempty"`
	Unit  string  `json:"unit"`
}

func (j judgement) missed() bool { return j.Most > 0 && j.Value > j.Most }

// A journal keeps all results of one part of a run, and writes each to a file as a line of JSON when it comes in.
type journal struct {
	part    string
	samples []sample
	facts   []judgement
	file    *os.File // of the whole run
}

func openJournal(dir string, began time.Time) (*journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, began.UTC().Format("2006-01-02T15-04-05")+".jsonl"))
	return &journal{file: f}, err
}

// of is the journal of a part of the same run.
func (j *journal) of(part string) *journal { return &journal{part: part, file: j.file} }

func (j *journal) line(kind string, v any) error {
	line := map[string]any{kind: v}
	if j.part != "" {
		line["part"] = j.part
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

func (j *journal) add(s sample) error {
	j.samples = append(j.samples, s)
	return j.line("sample", s)
}

// state adds a number that is no series of samples.
func (j *journal) state(f judgement) error {
	j.facts = append(j.facts, f)
	return j.line("fact", f)
}

func (j *journal) values(thing, agent string) []float64 {
	var found []float64
	for _, s := range j.samples {
		if s.Thing == thing && s.Agent == agent {
			found = append(found, s.Value)
		}
	}
	return found
}

// fact is a number of an agent; ok is false when there is none.
func (j *journal) fact(thing, agent string) (f judgement, ok bool) {
	for _, f := range j.facts {
		if f.Thing == thing && f.Agent == agent {
			return f, true
		}
	}
	return f, false
}

// ratios are an agent's samples in units of the floor's from the same place.
func (j *journal) ratios(thing, agent, floor string) []float64 {
	type place struct{ turn, place int }
	below := map[place]float64{}
	for _, s := range j.samples {
		if s.Thing == thing && s.Agent == floor {
			below[place{s.Turn, s.Place}] = s.Value
		}
	}
	var found []float64
	for _, s := range j.samples {
		if b := below[place{s.Turn, s.Place}]; s.Thing == thing && s.Agent == agent && b > 0 {
			found = append(found, s.Value/b)
		}
	}
	return found
}

// machine is what a later reader must know to compare.
type machine struct {
	Began  time.Time `json:"began"`
	Commit string    `json:"commit"`
	Dirty  bool      `json:"dirty"`
	CPUs   int       `json:"cpus"`
	Load   string    `json:"load"`
	Kernel string    `json:"kernel"`
	// Precedence tells whether the run had the CPU before others.
	Precedence bool `json:"precedence"`
}

func (m machine) write(w io.Writer) {
	dirty := ""
	if m.Dirty {
		dirty = " with changes"
	}
	before := "with precedence"
	if !m.Precedence {
		before = "without precedence"
	}
	fmt.Fprintf(w, "commit %s%s, %d CPUs, load %s (%s), Linux %s\n", m.Commit, dirty, m.CPUs, m.Load, before, m.Kernel)
}
