module flexprice-sandbox-client

go 1.21
