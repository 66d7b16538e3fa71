package h1

// reasons are what HTTP/1 calls the statuses that the proxy itself answers with:
// a server's response has its own.
var reasons = map[int]string{ //nolint:gochecknoglobals // a constant table
	100: "Continue",
	102: "Processing",
	103: "Early Hints",
	200: "OK",
	204: "No Content",
	301: "Moved Permanently",
	302: "Found",
	303: "See Other",
	307: "Temporary Redirect",
	308: "Permanent Redirect",
	400: "Bad Request",
	401: "Unauthorized",
	403: "Forbidden",
	404: "Not Found",
	405: "Method Not Allowed",
	406: "Not Acceptable",
	408: "Request Timeout",
	409: "Conflict",
	411: "Length Required",
	413: "Content Too Large",
	414: "URI Too Long",
	415: "Unsupported Media Type",
	417: "Expectation Failed",
	421: "Misdirected Request",
	425: "Too Early",
	426: "Upgrade Required",
	428: "Precondition Required",
	429: "Too Many Requests",
	431: "Request Header Fields Too Large",
	500: "Internal Server Error",
	501: "Not Implemented",
	502: "Bad Gateway",
	503: "Service Unavailable",
	504: "Gateway Timeout",
	505: "HTTP Version Not Supported",
	507: "Insufficient Storage",
	508: "Loop Detected",
	511: "Network Authentication Required",
}

// reason is the phrase of a status, or "".
func reason(status int) string { return reasons[status] }
