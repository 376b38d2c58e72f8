// Package atomicdir owns the layout of volumes whose files the agent writes (configMap, secret, downwardAPI, projected;
// behaviour 177): the files are in a directory named for the time of writing, the link ..data points to it, and the
// names users see are links through ..data. So all files of a volume change at one instant, and a reader that keeps
// ..data open sees one state. Containers may have such a volume open, but cannot write to it.
package atomicdir
