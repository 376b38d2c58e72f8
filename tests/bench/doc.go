// Command bench measures an agent against the floor: the same pods, with the same configurations, made with bare CRI calls
// on the same runtime. Both do the same work in turns within one run, so what the machine does besides hits both.
//
// What each agent asked for it tells by itself; when pods run and when they are gone, an observer of the runtime's
// own event stream tells, the same for all. `make bench` runs it; options.go lists the variables that steer it.
package main
