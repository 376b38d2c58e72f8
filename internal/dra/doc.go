// Package dra owns the conversation with the drivers of dynamic resource allocation (behaviours 241, 242): which of them have
// registered and can be reached, the calls by which the devices of ResourceClaims are prepared for pods and given back, what is prepared,
// and how the devices fare. It decides nothing about pods: package plan says when claims are prepared, and the cluster which devices
// they have.
//
// A claim may be used by several pods; its devices are given back when the last of them has ended. What is prepared, or may be because a
// driver was asked and its answer was never heard, is remembered before the driver is asked; so a crash forgets nothing, and all
// calls may be repeated.
//
// Each driver has a connection of its own, and every call a time limit. Nobody waits for a driver but those whose claims it has part
// in.
package dra
