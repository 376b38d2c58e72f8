// Package events owns the telling of notes to the API server, as core/v1 Events: which notes go there, in what words and about which object,
// and that they neither hold anybody up nor flood anybody.
//
// Repetitions are counted, alike events are combined and noisy objects are silenced by client-go's correlator, with its defaults: 10 alike
// events in 10 minutes are combined, and an object has 25 events at once and one more every 5 minutes. client-go's broadcaster is not
// used: while the API server is away it drops the newest events, and it is slow to go on afterwards.
//
// Reads: the notes that Sink is given; the API server's answers.
//
// Writes: Events, through Sender. Nobody else does.
//
// Goroutines: Run is one, and starts none.
//
// Stops when: the context of Run ends and what is queued has been sent, or a second later.
package events
