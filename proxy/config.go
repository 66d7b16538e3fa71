package proxy

import (
	"net/netip"
	"time"

	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/profiles"
)

// A Config is everything that can be set, and everything that is fixed but might
// be asked after: no other file of the proxy has a timeout or a limit of its own.
// ReadEnv makes it once, at the start, and nobody changes it afterwards. The
// defaults stand in the same table as the variables' names, which docs/config.md
// prints.
type Config struct {
	// Unmeshed says that this proxy has no identity, on purpose. Every
	// connection is in clear text, those to the control plane included.
	Unmeshed bool

	Inbound, Outbound Direction
	Policy            InboundPolicy
	// LocalIPs are this workload's own addresses, IPv4 as such. Inbound
	// connections may be meant for no others; none means for any.
	LocalIPs []netip.Addr
	// Ingress has outbound requests routed by their l5d-dst-override header.
	Ingress bool
	// QuietErrors keeps l5d-proxy-error and its like off the answers that
	// outbound gives in the name of a server.
	QuietErrors bool

	Balance  Balance
	HTTP     HTTP
	HTTP2    HTTP2Client
	Admin    Admin
	Metrics  Metrics
	Tap      Tap
	Control  Control
	Identity Identity
	Trace    Trace
	Log      Log
	Drain    Drain
	Tee      Tee
	Workers  Workers
	Overload Overload
	StateDir string // where snapshots and cached responses are kept; "" for nowhere
}

// A Direction is what inbound and outbound are both told.
type Direction struct {
	Listen []netip.AddrPort // none if there are named listeners and no address was asked for
	Named  []NamedListener

	Backlog  int     // connections that the kernel holds unaccepted; zero means its own choice
	Accept   Sockets // of the connections that are accepted
	MaxConns int     // connections at once

	DetectTimeout time.Duration // to see enough of a connection to know whether it is HTTP
	ServerFirst   time.Duration // of a client's silence, until the server is heard; zero for never

	Connect     Connect
	Pool        Pool
	HTTPQueue   Queue
	TCPQueue    Queue // outbound's only
	MaxInFlight int   // requests without a response at once, to all destinations

	DiscoverTimeout time.Duration // to hear of a destination for the first time
	DiscoveryIdle   time.Duration // to forget a destination, or a server of it, that nobody uses

	HTTP2 HTTP2Server
}

// A NamedListener serves connections whose destination is given to it, not read
// from the socket.
type NamedListener struct {
	Listen netip.AddrPort
	Target profiles.Target // an address, if inbound
}

// Sockets are the options of connections. Zero means the kernel's own choice.
type Sockets struct {
	Keepalive   time.Duration // of silence until the first probe (TCP_KEEPIDLE); probes are always on
	UserTimeout time.Duration // for written bytes to be acknowledged (TCP_USER_TIMEOUT)
}

// Connect is how connections are opened.
type Connect struct {
	Sockets
	Timeout time.Duration // of one try, handshakes included
	Backoff control.Backoff
}

// A Pool is the connections to one endpoint that wait for their next HTTP/1 request.
type Pool struct {
	MaxIdle     int
	IdleTimeout time.Duration
}

// A Queue is what waits for a destination to have an endpoint that is ready.
type Queue struct {
	Capacity int
	// Asked is true if Capacity was set in the environment. It then wins over a
	// policy's, which otherwise may enlarge it.
	Asked    bool
	FailFast time.Duration // from when on waiting is in vain
}

// HTTP2Server is what HTTP/2 clients are told and held to.
type HTTP2Server struct {
	AdaptiveWindows          bool   // grown with the connection's bandwidth and delay, instead of the next two
	StreamWindow, ConnWindow uint32 // bytes
	KeepAliveInterval        time.Duration
	KeepAliveTimeout         time.Duration // zero, as is the interval, for no pings
	MaxStreams               uint32        // at once, in one connection
	MaxFrameSize             uint32        // bytes
	MaxHeaderListSize        uint32        // bytes, as RFC 9113, section 6.5.2 counts them
	MaxPendingResets         int           // streams that a client may reset unanswered, in one burst; zero for the codec's own number
	MaxSendBuffer            int           // bytes, in one connection
}

// HTTP2Client is what HTTP/2 servers are told, the control plane's included.
type HTTP2Client struct {
	StreamWindow, ConnWindow uint32 // bytes
}

// HTTP bounds messages, in both directions and in every version.
type HTTP struct {
	HeadBytes   int           // in one head, or one trailer
	HeadFields  int           // in one head, or one trailer
	HeadTime    time.Duration // for a head to be complete, from its first byte
	DrainBytes  int           // of a body that nobody wants, read to save its connection
	DrainTime   time.Duration // to read them
	Continue    time.Duration // that a body waits for 100 (Continue), and then no longer
	ClientWatch time.Duration // that a request is in hand before its client is watched for leaving; about that idle, a connection is parked
}

// Balance is how latency is estimated where the control plane does not say.
type Balance struct {
	DefaultRTT time.Duration // of an endpoint that has not answered yet
	Decay      time.Duration // in which a measured latency fades

	MaxEndpoints int           // of one destination; what comes beyond is left out
	Settle       time.Duration // least time between two sets of one destination's endpoints
}

// InboundPolicy is what holds before, and unless, the policy service speaks.
type InboundPolicy struct {
	Default         string // one of linkerd's names, as "all-unauthenticated"
	Ports           PortSet
	OpaquePorts     PortSet        // not looked at for HTTP
	Networks        []netip.Prefix // that the policies named "cluster-…" admit
	GatewaySuffixes []string       // as Control.ProfileSuffixes
	// RequireIdentity and RequireTLS hold ports of this workload.
	RequireIdentity, RequireTLS PortSet
	ProfileTimeout              time.Duration // to wait for a profile before doing without
}

// Admin is the operator's port.
type Admin struct {
	Listen           netip.AddrPort
	ShutdownEndpoint bool          // POST /shutdown is obeyed
	Clients          []string      // identities that may do what loopback may
	HeadTime         time.Duration // for a request's head
	HeadBytes        int
	IdleTimeout      time.Duration // between two requests
	ReadTime         time.Duration // for a request's content
	WriteTime        time.Duration // for a response
	Grace            time.Duration // for what is in hand at the end
	FilterBytes      int           // of a new log filter
	Scrapes          int           // of the metrics at once
	MaxConns         int
}

// Metrics are what is counted, and for how long it is kept.
type Metrics struct {
	RetainIdle      time.Duration // of a series that nothing adds to
	MaxSeries       int           // in one family
	HostnameLabels  bool          // on outbound route metrics
	AuthorityLabels bool          // on inbound request metrics; clients choose its values
}

// Tee is what consumers of contents may cost: a cache's, or tap's.
type Tee struct {
	Bytes         int           // held for all consumers
	MessageBytes  int           // held for those of one message
	ConsumerBytes int           // that one may be behind
	Consumers     int           // of one message
	Running       int           // of all messages, at once
	Stall         time.Duration // for which one may read nothing though there is something
	Grace         time.Duration // for consumers to end at the proxy's end, and as long again once they are told to
}

// Tap is the port where an operator asks to be shown requests.
type Tap struct {
	Listen netip.AddrPort
	Client string // the identity that may ask; "" for no such port
}

// Control is where the control plane is and what it is asked about.
type Control struct {
	Destination, Policy ControlService
	Context             string         // of this workload, for Destination; opaque
	Workload            string         // this workload, for Policy; opaque
	ProfileSuffixes     []string       // names that may be looked up: lower case, no final dot, "." for all
	ProfileNetworks     []netip.Prefix // addresses that may be looked up
	Limits              control.Limits // on watches, but for those of a loopback controller
	DNSMinTTL           time.Duration  // zero means no bound
	DNSMaxTTL           time.Duration  // zero means no bound
	Remembered          int            // destinations whose last values are kept when they are dropped
	MaxPause            time.Duration  // between two tries to reach a service or to ask it again, at most
	FailFast            time.Duration  // for a call to wait until the service can be reached
	MaxPattern          int            // bytes of a regular expression in a route
	MaxParts            int            // of one profile or policy: routes, rules, matches and so on
}

// A ControlService is one of the control plane's services.
type ControlService struct {
	Addr    control.Addr // zero if there is none
	Name    string       // the identity that it must prove, and its SNI; "" in clear text
	Connect Connect      // inbound's if Addr is loopback, or else outbound's
}

// Identity is how this workload comes by a certificate. It is zero if Unmeshed.
type Identity struct {
	Service          ControlService
	Dir              string // of csr.der and key.p8
	TrustAnchors     string // PEM
	TrustAnchorsFile string // PEM, read again when it changes
	TokenFile        string
	MinRefresh       time.Duration // between two certificates, or two tries
	MaxRefresh       time.Duration
	ServerID         string // this workload's own
	ServerName       string // the SNI by which it is asked for
	SpireAddr        string // of the SPIFFE Workload API; "" for linkerd's identity service
	SpireBackoff     control.Backoff
	Timeout          time.Duration // of one try
	Retry            time.Duration // the pause after the first try that failed, while there is no certificate that is valid
	Reminder         time.Duration // between two warnings that there has been none yet
	AnchorsPoll      time.Duration // between two looks at TrustAnchorsFile
}

// Trace is where spans go and what they carry.
type Trace struct {
	Collector       ControlService
	AttributesPath  string // of a file of key="value" lines
	ServiceName     string
	ExtraAttributes string // key=value lines
	OTelAttributes  string // key=value lines, which win over the others
	Hostname        string
}

// Log is what is written to standard output, and Access to standard error.
type Log struct {
	Filter string // directives, as linkerd=info
	JSON   bool
	Access string // "apache", "json" or "" for none
}

// Overload is what is done before the process runs out of descriptors or memory
// (docs/pressure.md). All of it that is for memory holds only if there is a limit.
type Overload struct {
	Patience time.Duration // for a connection to wait for another to end, while descriptors are few
	Age      time.Duration // of a connection, before it is asked to leave for others

	HeapShare    int           // of the limit, in per cent, that the collector keeps to, unless GOMEMLIMIT is set
	ShedAt       int           // per cent of the limit at which requests are shed
	RefuseAt     int           // per cent of the limit at which connections are refused
	EvictShare   int           // of connections, in thousandths, that are then asked to leave at each look
	Interval     time.Duration // between two looks at what is used
	Free         time.Duration // between two collections for want of memory
	RequestBytes int           // that a request is thought to need, until the next look
	ConnBytes    int           // that a connection is thought to need, until the next look
	ConnShare    int           // bytes of the limit that each connection of a client has; so many are admitted
}

// Drain is how the proxy ends.
type Drain struct {
	LameDuck time.Duration // for which it goes on accepting, while it asks clients to leave
	Idle     time.Duration // that a connection without work may be so, from when clients were asked; then it is closed
	Grace    time.Duration // for what is in flight, after which it ends all the same
}
