package nodestatus

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// turns are the words for a condition that turned true, and false.
var turns = map[v1.NodeConditionType][2]string{
	v1.NodeMemoryPressure: {reason.NodeHasInsufficientMemory, reason.NodeHasSufficientMemory},
	v1.NodeDiskPressure:   {reason.NodeHasDiskPressure, reason.NodeHasNoDiskPressure},
	v1.NodePIDPressure:    {reason.NodeHasInsufficientPID, reason.NodeHasSufficientPID},
	v1.NodeReady:          {reason.NodeReady, reason.NodeNotReady},
}

// Notes tells what a new status brings that people may want to hear of: conditions that turned, and a reboot
// (behaviour 294). Of a node that was not there before, that it is not ready yet is no news.
func Notes(name string, previous, next v1.NodeStatus, now time.Time) []note.Note {
	var all []note.Note
	if Rebooted(previous, Facts{BootID: next.NodeInfo.BootID}) {
		n := about(name, now, reason.Rebooted, fmt.Sprintf("Node %s has been rebooted, boot id: %s", name, next.NodeInfo.BootID))
		n.Level = note.Warning
		all = append(all, n)
	}
	for _, kind := range ownConditions {
		was, is := find(previous.Conditions, kind), find(next.Conditions, kind)
		if is.Status == was.Status || kind == v1.NodeReady && was.Type == "" && is.Status != v1.ConditionTrue {
			continue
		}
		word := turns[kind][1]
		if is.Status == v1.ConditionTrue {
			word = turns[kind][0]
		}
		all = append(all, StatusNote(name, word, now))
	}
	return all
}

// StatusNote is a note in the form in which a node's turns are told: "Node x status is now: NodeReady".
func StatusNote(name, word string, now time.Time) note.Note {
	return about(name, now, word, fmt.Sprintf("Node %s status is now: %s", name, word))
}

func about(name string, now time.Time, why, message string) note.Note {
	return note.Note{At: now, About: note.About{Kind: "Node", Name: name}, Reason: why, Message: message}
}
