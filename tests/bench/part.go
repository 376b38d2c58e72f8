package main

import "time"

// A work is pods of one kind, one after the other, and what their life is called in the tables.
type work struct {
	kind          kind
	start, remove thing
	stages        stages
}

// A thing is measured in pairs: agent and floor. Most is the budget of Bosun's ratio; 0 means that there is none.
type thing struct {
	name string
	most float64
}

// stages are what one pod's time is made of: from one event to the next.
type stages []stage

type stage struct {
	name     string
	from, to func(lived, times) time.Time // the first of both is of the pod's way up or down
	down     bool
}

// A part of the benchmark measures agents in one setting, and has tables of its own.
type part struct {
	title   string
	journal *journal
	agents  []agent // the first is the floor
	works   []work
	// Many pods at once, of the kind plain.
	startMany, removeMany thing

	rounds, each, bursts, pods int
	idle                       time.Duration
	budgets                    budgets
}

// budgets of what an agent is measured in by itself; 0 means none.
type budgets struct {
	cpuPerPod float64 // ms
	idleCPU   float64 // % of a core
}

// subject is the agent whose budgets these are; what others need is only told.
const subject = "bosun"

func (p *part) floor() agent { return p.agents[0] }

// things are all that is measured in pairs, in the order of the table.
func (p *part) things() []thing {
	var all []thing
	for _, w := range p.works {
		all = append(all, w.start, w.remove)
	}
	return append(all, p.startMany, p.removeMany)
}

func asked(l lived, _ times) time.Time   { return l.asked }
func sandbox(_ lived, t times) time.Time { return t.sandbox }
func created(_ lived, t times) time.Time { return t.created }
func running(_ lived, t times) time.Time { return t.running }
func ready(_ lived, t times) time.Time   { return t.ready }
func stopped(_ lived, t times) time.Time { return t.stopped }
func gone(_ lived, t times) time.Time    { return t.gone }
func deleted(_ lived, t times) time.Time { return t.deleted }

// runtimeStages are those of a pod that the runtime alone tells of.
func runtimeStages(of string) stages {
	return stages{
		{of + ": asked → sandbox runs", asked, sandbox, false}, {of + ": → container created", sandbox, created, false},
		{of + ": → container runs", created, running, false},
		{of + ": asked → container ended", asked, stopped, true}, {of + ": → all gone from the runtime", stopped, gone, true},
	}
}

// clusterStages are those of a pod of the API server.
func clusterStages(of string) stages {
	s := runtimeStages(of)
	return append(s[:3:3], stage{of + ": → Ready in the API", running, ready, false}, s[3], s[4],
		stage{of + ": container ended → gone from the API", stopped, deleted, true})
}
