// Package pod owns the nouns of the node agent's daily work: what a source wants of a pod (Desired), what the
// runtime has of it (Observed, built from Reports), and the words for their states. They are plain values: nobody
// changes one after it was handed on.
package pod
