// The process that holds a pod's namespaces: it sleeps, ends on SIGINT and SIGTERM, and, as process 1 of a shared PID
// namespace, reaps the orphans of all containers. C, because there is one in every pod: its memory is a few pages, not 2 MB.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
	sigset_t wanted;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGCHLD);
	// Blocked, the signals queue for sigwait: none can arrive between two system calls and be missed.
	if (sigprocmask(SIG_BLOCK, &wanted, NULL) != 0) return 1;
	for (;;) {
		int got = 0;
		if (sigwait(&wanted, &got) != 0) return 2;
		if (got != SIGCHLD) return 0;
		while (waitpid(-1, NULL, WNOHANG) > 0) {
		}
	}
}
