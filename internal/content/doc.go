// Package content owns what the files of a configMap, secret, downwardAPI or projected volume hold (paths, bytes, modes,
// owners), and which objects of the API a pod needs for them, for its environment, its images and its sandbox. Pure
// functions: the objects come in as Facts.
//
// Variables and the downward API are package environ's; this one asks it.
package content
