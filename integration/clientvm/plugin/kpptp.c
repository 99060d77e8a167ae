/*
 * kpptp.so: a pppd plugin that dials PPTP with the kernel's data path.
 *
 * Debian's pptp-linux moves GRE through user space and a pty. Here the plugin
 * speaks only the control connection (RFC 2637 section 2) and hands pppd an
 * AF_PPPOX socket, so that GRE, sequence numbers, acknowledgements and MPPE are
 * the Linux kernel's own.
 *
 *   pppd plugin kpptp.so kpptp-server 192.0.2.1 ...
 *
 * With kpptp-stateful pppd asks for stateful MPPE, which by itself it only accepts:
 * old clients do ask, and a server has to answer them.
 */
#include <arpa/inet.h>
#include <linux/if_pppox.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <pppd/pppd.h>
#include <pppd/fsm.h>
#include <pppd/lcp.h>
#include <pppd/ccp.h>
#include <pppd/mppe.h>

char pppd_version[] = VERSION;

/* Message types and sizes, RFC 2637 section 2. */
enum { SCCRQ = 1, SCCRP = 2, STOP_RQ = 3, ECHO_RQ = 5, ECHO_RP = 6, OCRQ = 7, OCRP = 8, CALL_DISC = 13, SLI = 15 };
enum { HEADER = 12, LONGEST = 512, ANSWER_SECONDS = 20, WINDOW = 64 };

static char *server;
static bool stateful;
static int control = -1, data = -1;
static pid_t keeper;

static option_t options[] = {
	{ "kpptp-server", o_string, &server, "address of the PPTP server" },
	{ "kpptp-stateful", o_bool, &stateful, "ask for stateful MPPE", 1 },
	{ NULL }
};

struct message { uint8_t b[LONGEST]; };

static void put16(struct message *m, int at, uint16_t v) { v = htons(v); memcpy(m->b + at, &v, 2); }
static void put32(struct message *m, int at, uint32_t v) { v = htonl(v); memcpy(m->b + at, &v, 4); }
static int get16(const struct message *m, int at) { return m->b[at] << 8 | m->b[at + 1]; }

static void begin(struct message *m, int length, int type)
{
	memset(m, 0, sizeof *m);
	put16(m, 0, length);
	put16(m, 2, 1);
	put32(m, 4, 0x1A2B3C4D);
	put16(m, 8, type);
}

static int transmit(const struct message *m)
{
	int n = get16(m, 0);
	return send(control, m->b, n, MSG_NOSIGNAL) == n ? 0 : -1;
}

/* receive returns the type of the next message that is not an Echo-Request, which
 * it answers; -1 when the connection has ended. */
static int receive(struct message *m)
{
	for (;;) {
		if (recv(control, m->b, HEADER, MSG_WAITALL) != HEADER)
			return -1;
		int rest = get16(m, 0) - HEADER;
		if (rest < 0 || rest > LONGEST - HEADER)
			return -1;
		if (rest > 0 && recv(control, m->b + HEADER, rest, MSG_WAITALL) != rest)
			return -1;
		if (get16(m, 8) != ECHO_RQ)
			return get16(m, 8);
		struct message reply;
		begin(&reply, 20, ECHO_RP);
		memcpy(reply.b + 12, m->b + 12, 4);
		reply.b[16] = 1;
		if (transmit(&reply))
			return -1;
	}
}

/* keep holds the control connection in a child, for as long as both ends do. */
static void keep(void)
{
	struct message m;
	struct timeval forever = { 0 };
	int type;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	close(data);
	setsockopt(control, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
	do
		type = receive(&m);
	while (type >= 0 && type != STOP_RQ && type != CALL_DISC);
	kill(getppid(), SIGHUP);
	_exit(0);
}

static int dial(void)
{
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(1723) }, self;
	struct sockaddr_pppox call = { .sa_family = AF_PPPOX, .sa_protocol = PX_PROTO_PPTP };
	struct timeval patience = { .tv_sec = ANSWER_SECONDS };
	socklen_t size;
	struct message m;

	if (stateful)
		ccp_wantoptions[0].mppe |= MPPE_OPT_STATEFUL;
	if (!server || !inet_aton(server, &peer.sin_addr)) {
		error("kpptp: kpptp-server is not an address");
		return -1;
	}
	control = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(control, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(control, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	size = sizeof self;
	if (connect(control, (struct sockaddr *)&peer, sizeof peer) ||
	    getsockname(control, (struct sockaddr *)&self, &size)) {
		error("kpptp: connect: %m");
		return -1;
	}

	/* The kernel chooses our call ID when the socket is bound. */
	data = socket(AF_PPPOX, SOCK_STREAM, PX_PROTO_PPTP);
	call.sa_addr.pptp.sin_addr = self.sin_addr;
	size = sizeof call;
	if (data < 0 || bind(data, (struct sockaddr *)&call, size) ||
	    getsockname(data, (struct sockaddr *)&call, &size)) {
		error("kpptp: data socket: %m");
		return -1;
	}

	begin(&m, 156, SCCRQ);
	put16(&m, 12, 0x0100);
	put32(&m, 16, 3);
	put32(&m, 20, 3);
	strcpy((char *)m.b + 28, "kpptp");
	strcpy((char *)m.b + 92, "Linux");
	if (transmit(&m) || receive(&m) != SCCRP || m.b[14] != 1) {
		error("kpptp: control connection refused");
		return -1;
	}

	begin(&m, 168, OCRQ);
	put16(&m, 12, call.sa_addr.pptp.call_id);
	put16(&m, 14, 1);
	put32(&m, 16, 300);
	put32(&m, 20, 1000000000);
	put32(&m, 24, 3);
	put32(&m, 28, 3);
	put16(&m, 32, WINDOW);
	if (transmit(&m) || receive(&m) != OCRP || m.b[16] != 1) {
		error("kpptp: call refused: result %d, error %d", m.b[16], m.b[17]);
		return -1;
	}

	call.sa_addr.pptp.sin_addr = peer.sin_addr;
	call.sa_addr.pptp.call_id = get16(&m, 12);
	if (connect(data, (struct sockaddr *)&call, sizeof call)) {
		error("kpptp: data socket: %m");
		return -1;
	}

	int peer_call = get16(&m, 12);
	begin(&m, 24, SLI);
	put16(&m, 12, peer_call);
	put32(&m, 16, 0xffffffff);
	put32(&m, 20, 0xffffffff);
	transmit(&m);

	slprintf(ppp_devnam, sizeof ppp_devnam, "pptp (%s)", server);
	keeper = fork();
	if (keeper == 0)
		keep();
	return data;
}

static void hang_up(void)
{
	if (keeper > 0)
		kill(keeper, SIGKILL);
	keeper = 0;
	close(control);
	close(data);
	control = data = -1;
}

static struct channel pptp_channel = {
	.options = options,
	.connect = dial,
	.disconnect = hang_up,
	.establish_ppp = generic_establish_ppp,
	.disestablish_ppp = generic_disestablish_ppp,
};

void plugin_init(void)
{
	add_options(options);
	the_channel = &pptp_channel;
	modem = 0;
}
