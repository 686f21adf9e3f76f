package annalslog

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// One response is 4 MiB at most, or one record, which is never larger than a batch, 8 MiB.
const responseBytesMax = 16 << 20

// Files are those that `annals init` makes: who is believed, and who this is. All empty: nothing is encrypted.
type Files struct {
	CA, Certificate, Key string
}

// Connect makes a connection to a node. Any node will do, since it sends what is produced to the one that leads.
func Connect(address string, files Files) (*grpc.ClientConn, error) {
	security := insecure.NewCredentials()
	if files != (Files{}) {
		config, err := files.config()
		if err != nil {
			return nil, err
		}
		security = credentials.NewTLS(config)
	}
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(responseBytesMax)),
		// So that a reader who waits hears of it when the other machine is gone.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
	)
}

func (f Files) config() (*tls.Config, error) {
	authorities, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("%s: no certificate in it", f.CA)
	}
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}
