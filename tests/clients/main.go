// A sale with net/http, and a webhook received and verified with crypto/hmac.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
)

var (
	api, control = os.Getenv("API"), os.Getenv("CONTROL")
	key, secret  = os.Getenv("KEY"), os.Getenv("SECRET")
)

type object = map[string]any

func call(method, url string, body object) object {
	data, err := json.Marshal(body)
	if err != nil {
		log.Fatal(err)
	}
	request, err := http.NewRequest(method, url, bytes.NewReader(data))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("x-api-key", key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	var answer object
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode >= 400 {
		log.Fatal(method, " ", url, ": ", response.Status, answer, err)
	}
	return answer
}

func isSigned(headers http.Header, body []byte) bool {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, raw)
	fmt.Fprintf(mac, "%s.%s.%s", headers.Get("svix-id"), headers.Get("svix-timestamp"), body)
	for _, one := range strings.Fields(headers.Get("svix-signature")) {
		given, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(one, "v1,"))
		if err == nil && hmac.Equal(given, mac.Sum(nil)) {
			return true
		}
	}
	return false
}

func main() {
	var types []string
	var mutex sync.Mutex
	receive := func(writer http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		var message struct {
			Type string `json:"event_type"`
		}
		if isSigned(request.Header, body) && json.Unmarshal(body, &message) == nil {
			mutex.Lock()
			types = append(types, message.Type)
			mutex.Unlock()
		}
		writer.WriteHeader(http.StatusNoContent)
	}
	server := httptest.NewServer(http.HandlerFunc(receive))
	defer server.Close()

	call("PUT", control+"/store", object{"webhook_url": server.URL})
	prices := []object{{"currency": "inr", "amount": "499"}}
	plan := call("PUT", control+"/plans/pro", object{"name": "Pro", "prices": prices})
	call("POST", api+"/customers", object{"external_id": "u1", "name": "Asha"})
	params := object{"plan_id": plan["id"], "currency": "INR", "billing_period": "MONTHLY"}
	session := call("POST", api+"/checkout/sessions", object{
		"customer_external_id": "u1",
		"action":               "create_subscription",
		"payment_provider":     "razorpay",
		"configuration":        object{"create_subscription_params": params},
		"success_url":          "https://shop.example/return",
	})
	link := session["payment_action"].(object)["url"]
	call("POST", control+"/provider", object{"action": "pay", "link": link})
	call("POST", control+"/deliver", object{})
	read := call("GET", fmt.Sprint(api, "/checkout/sessions/", session["id"]), nil)

	mutex.Lock()
	defer mutex.Unlock()
	if read["checkout_status"] != "completed" || !strings.Contains(strings.Join(types, " "), "checkout.session.completed") {
		log.Fatal(read["checkout_status"], types)
	}
	fmt.Println("sold", session["id"], len(types), "messages verified")
}
